#!/bin/sh
# One order with curl: placed under your own number, asked about until it is over, its codes revealed.
# Usage: HUB=http://127.0.0.1:8000 KEY=hub_test_... sh order.sh invoice-1001 5123456789
set -eu
reference=$1 player=$2

ask() {
  curl -sS --max-time 20 -H "Authorization: Bearer $KEY" "$@"
}

field() {
  sed -n "s/.*\"$1\": *\"\{0,1\}\([^\",}]*\).*/\1/p" | head -n 1
}

# The same key and the same body each time: curl repeats what was not answered, and the hub knows it again.
answer=$(ask --retry 8 --retry-connrefused --retry-all-errors "$HUB/api/v1/orders" \
  -H "Content-Type: application/json" -H "Idempotency-Key: $reference" \
  -d "{\"package\": \"pubg-60\", \"client_reference\": \"$reference\", \"fields\": {\"player_id\": \"$player\"}}")
order=$(printf '%s' "$answer" | field id)
if [ -z "$order" ]; then
  printf '%s\n' "$answer" >&2
  exit 1
fi

status=pending
while [ "$status" = pending ] || [ "$status" = processing ]; do
  sleep 1
  status=$(ask --retry 8 --retry-all-errors "$HUB/api/v1/orders/$order" | field status)
done
echo "order $order is $status"

if [ "$status" = completed ] || [ "$status" = partial ]; then
  ask -X POST "$HUB/api/v1/orders/$order/codes/reveal"
  echo
fi
