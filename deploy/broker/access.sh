#!/bin/sh
# access.sh [SERVICE …]: accounts and grants of the services (all when none is named) at the broker; safe to run again: it
# sets the passwords anew and adds what is missing. A service writes its own facts, reads what it hears, in a group of its own name, and may put what it could
# not take in into the dead letters of those topics. The topics are made by whichever service comes first.
set -eu
programs=${KAFKA_PROGRAMS:-/opt/kafka/bin}
server=${KAFKA_SERVER:-kafka:9092}
all="roster lending compensation gateway"
services=${*:-$all}
hears() {
    case $1 in
        roster) echo "lending compensation gateway" ;;
        lending) echo "roster compensation gateway" ;;
        compensation) echo "lending gateway" ;;
        gateway) echo "roster gateway" ;;
    esac
}

umask 077
operator=$(mktemp)
trap 'rm -f "$operator"' EXIT
cat > "$operator" <<CONFIG
security.protocol=${KAFKA_PROTOCOL:-SASL_PLAINTEXT}
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="operator" password="$KAFKA_OPERATOR_PASSWORD";
CONFIG
if [ -n "${KAFKA_CA_FILE:-}" ]; then
    printf 'ssl.truststore.type=PEM\nssl.truststore.location=%s\n' "$KAFKA_CA_FILE" >> "$operator"
fi

# The programs tell their faults where they tell everything: quiet unless something is wrong.
ask() {
    program=$1
    shift
    told=$("$programs/$program" --bootstrap-server "$server" --command-config "$operator" "$@" 2>&1) || {
        echo "$told" >&2
        exit 1
    }
}
grant() { ask kafka-acls.sh --force --add "$@"; }

everybody="" topics=""
for service in $all; do
    topics="$topics --topic kechuang.$service --topic kechuang.$service.DLT"
done
for service in $services; do
    password=$(eval "printf %s \"\$$(printf %s "$service" | tr '[:lower:]' '[:upper:]')_KAFKA_PASSWORD\"")
    [ -n "$password" ] || { echo "no password for $service: run deploy/first-start.sh" >&2; exit 1; }
    ask kafka-configs.sh --alter --entity-type users --entity-name "$service" \
        --add-config "SCRAM-SHA-512=[password=$password]"
    everybody="$everybody --allow-principal User:$service"
done
# shellcheck disable=SC2086
grant $everybody --operation Describe --operation Create $topics
for service in $services; do
    writes="--topic kechuang.$service" reads=""
    for topic in $(hears "$service"); do
        reads="$reads --topic kechuang.$topic"
        writes="$writes --topic kechuang.$topic.DLT"
    done
    # shellcheck disable=SC2086
    grant --allow-principal "User:$service" --operation Write $writes
    # shellcheck disable=SC2086
    grant --allow-principal "User:$service" --operation Read --group "$service" $reads
    echo "$service: may write its facts, hears $(hears "$service")"
done
