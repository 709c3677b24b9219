#!/usr/bin/env bash
# curl, as the docs have it: `curl.sh URL KEY PREFIX COUNT`. A hundred events go alone, the others in
# hundreds: NDJSON, Segment's batch with and without gzip, Jitsu's batch. With `--retry` curl
# repeats 408, 429 and 5xx by itself, as Retry-After says, with `--retry-connrefused` what was refused
# and with `--retry-all-errors` what was broken off; the same bytes, and so the same messageIds. The
# body must be a file for that: stdin is read once. Without `--fail`, for together with
# `--retry-all-errors` that repeats a 401 as well; what was taken is in the answers.

set -euo pipefail
url=$1 key=$2 prefix=$3 count=$4
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# `--retry-delay` is the pause where the server names none.
post=(curl --silent --show-error --output "$folder/answer"
  --retry 200 --retry-delay 1 --retry-connrefused --retry-all-errors --max-time 30)
# Over a socket of this machine the URL's host is no more than a word.
[[ -z ${UNIX_SOCKET-} ]] || post+=(--unix-socket "$UNIX_SOCKET")

# The events of the numbers from $1 to before $2, one a line.
events() {
  awk -v prefix="$prefix" -v from="$1" -v to="$2" 'BEGIN {
    split("Order Completed,Product Viewed,Product Added,Products Searched", name, ",")
    for (n = from; n < to; n++) {
      what = n % 5 < 4 ? "\"type\":\"track\",\"event\":\"" name[n % 5 + 1] "\"" : "\"type\":\"page\",\"name\":\"Home\""
      printf "{\"messageId\":\"%s-%d\",%s,\"userId\":\"user-%d\",", prefix, n, what, n % 500
      printf "\"properties\":{\"order_id\":\"%s-%d\",\"currency\":\"USD\",\"total\":42.5},", prefix, n
      printf "\"context\":{\"traits\":{\"email\":\"customer%d@mail.example\"}}}\n", n
    }
  }'
}

# The same as a batch.
batch() {
  printf '{"batch":['
  events "$1" "$2" | paste -sd,
  printf ']}'
}

# Sends the body as the arguments behind the numbers say; each event needs an answer of its own that
# it is stored. `unavailable` is for later: NDJSON has it in an answer that began as a 200.
send() {
  local from=$1 to=$2 said i
  shift 2
  while
    "${post[@]}" --data-binary "@$folder/body" "$@" || exit 1
    grep -q '"unavailable"' "$folder/answer"
  do
    sleep 1
  done
  said=$(grep -oE '"status": ?"(queued|duplicate)"' "$folder/answer" | wc -l)
  if [[ $said -ne $((to - from)) ]]; then
    echo "$from to $to: $said stored" >&2
    cat "$folder/answer" >&2
    exit 1
  fi
  for ((i = from; i < to; i++)); do echo "delivered $prefix-$i"; done
}

# The key is where each dialect has it.
header=(-H "X-Write-Key: $key")
basic=(-u "$key:")
json=(-H 'Content-Type: application/json')
ndjson=(-H 'Content-Type: application/x-ndjson')

alone=$((count < 100 ? count : 100))
for ((n = 0; n < alone; n++)); do
  events "$n" $((n + 1)) >"$folder/body"
  if ((n % 5 < 4)); then kind=track; else kind=page; fi
  case $((n % 3)) in
    0) send "$n" $((n + 1)) "${header[@]}" "${json[@]}" "$url/api/$kind" ;;
    1) send "$n" $((n + 1)) "${basic[@]}" "${json[@]}" "$url/v1/$kind" ;;
    2) send "$n" $((n + 1)) "${header[@]}" "${json[@]}" "$url/api/s/s2s/$kind" ;;
  esac
done
for ((n = alone; n < count; n += 100)); do
  end=$((n + 100 < count ? n + 100 : count))
  case $((n / 100 % 4)) in
    0)
      events "$n" "$end" >"$folder/body"
      send "$n" "$end" "${header[@]}" "${ndjson[@]}" "$url/v1/events"
      ;;
    1)
      batch "$n" "$end" >"$folder/body"
      send "$n" "$end" "${basic[@]}" "${json[@]}" "$url/v1/batch"
      ;;
    2)
      batch "$n" "$end" | gzip >"$folder/body"
      send "$n" "$end" "${basic[@]}" "${json[@]}" -H 'Content-Encoding: gzip' "$url/v1/batch"
      ;;
    3)
      batch "$n" "$end" >"$folder/body"
      send "$n" "$end" "${header[@]}" "${json[@]}" "$url/api/s/s2s/batch"
      ;;
  esac
done
