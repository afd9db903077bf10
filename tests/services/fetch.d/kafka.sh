#!/usr/bin/env bash
# A Kafka broker from Maven's artifacts: `kafka.sh CACHE` puts its jars in CACHE/kafka-VERSION/lib, once, and beside
# them an archive of loaded classes, with which it starts in half the time.
set -uo pipefail
version=4.4.0
home="$1/kafka-$version"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

fail() { echo "$*"; exit 1; }

installed() { # installed COMMAND PACKAGE
  command -v "$1" >/dev/null && return
  local sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo -n)
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$2" >/dev/null 2>&1
  command -v "$1" >/dev/null || fail "$1 is missing: install the package $2"
}

jars() {
  cat >"$folder/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tests</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.5</version></dependency>
  </dependencies>
</project>
POM
  (cd "$folder" && mvn -B -q org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory=lib) || fail "Maven could not fetch Kafka $version: is its repository within reach?"
  # The folder gets its name when it is whole, so that an interrupted fetch starts over.
  mkdir -p "$home" && mv "$folder/lib" "$home/lib"
}

archive() { # start a broker once; the archive is written as it ends
  local port=$((RANDOM % 8000 + 15000))
  cat >"$folder/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$folder/data
PROPERTIES
  java -cp "$home/lib/*" kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAQ -c "$folder/server.properties"
  java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx256m -XX:ArchiveClassesAtExit="$folder/classes.jsa" \
    -cp "$home/lib/*" kafka.Kafka "$folder/server.properties" &
  local server=$!
  for _ in $(seq 300); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    sleep 0.1
  done
  sleep 1
  kill "$server"
  wait "$server"
  [ -s "$folder/classes.jsa" ] && mv "$folder/classes.jsa" "$home/classes.jsa"
}

installed java openjdk-17-jre-headless
[ -d "$home/lib" ] || { installed mvn maven && jars; }
# Without the archive a broker only starts more slowly, so its absence is no failure.
[ -s "$home/classes.jsa" ] || archive
exit 0
