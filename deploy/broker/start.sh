#!/bin/sh
# Formats the broker's volume on its first start, with the one account that may everything, and starts the broker.
# The other accounts and what they may are access.sh's.
set -eu
programs=${KAFKA_PROGRAMS:-/opt/kafka/bin}
here=$(cd "$(dirname "$0")" && pwd)
config=${BROKER_CONFIG:-$here/server.properties}
data=$(sed -n 's/^log\.dirs=//p' "$config")
if [ ! -e "$data/meta.properties" ]; then
    "$programs/kafka-storage.sh" format --standalone --cluster-id "$KAFKA_CLUSTER_ID" --config "$config" \
        --add-scram "SCRAM-SHA-512=[name=operator,password=$KAFKA_OPERATOR_PASSWORD]"
fi
exec "$programs/kafka-server-start.sh" "$config"
