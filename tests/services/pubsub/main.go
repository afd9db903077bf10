// Google's own in-memory Pub/Sub as a program: it listens on the address that it is given, until it is ended.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"cloud.google.com/go/pubsub/v2/pstest"
)

func main() {
	// The service wants deadlines of ten seconds or more; tests want to see them run out.
	pstest.SetMinAckDeadline(time.Second)
	server := pstest.NewServerWithAddress(os.Args[1])
	defer server.Close()
	fmt.Println(server.Addr)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, os.Interrupt)
	<-ended
}
