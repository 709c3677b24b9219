"""segment-analytics-python 2, as its README has it but for the host.

It repeats by itself what was refused or broken off, a whole batch with its messageIds:
`max_retries` (10), at once and then after 0.5, 1, 2 ... 60 s; with Retry-After it waits as told
and does not count. It tells of losses alone, through `on_error`; `flush` waits for the rest.
`track` answers False for an event that its queue has no room for.
"""

import sys

from segment.analytics.client import Client

NAMES = ["Order Completed", "Product Viewed", "Product Added", "Products Searched"]


def main():
    """Sends the events; 0 only if none was given up."""
    url, key, prefix, count = sys.argv[1:]
    count = int(count)
    lost = []

    def on_error(error, batch):
        lost.extend(batch)
        print(f"lost {len(batch)}: {error!r}", file=sys.stderr)

    client = Client(
        key,
        host=url,
        on_error=on_error,
        gzip=True,
        max_retries=100,
        upload_interval=0.2,
        # A batch that waits for Retry-After goes back into the queue, and is lost if that is full.
        max_queue_size=count + 1000,
    )
    ids = []
    for n in range(count):
        order = f"{prefix}-{n}"
        product = {"product_id": f"SKU-{n % 977}", "name": "Stoneware mug", "price": 10.5, "quantity": 1 + n % 3}
        context = {"page": {"url": f"https://shop.example/p/{n}", "path": f"/p/{n}"}}
        if n % 2:
            context["traits"] = {"email": f"customer{n}@mail.example"}
        else:
            context["ip"] = f"203.0.113.{1 + n % 250}"
            context["userAgent"] = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X)"
        same = {
            "user_id": f"user-{n % 500}",
            "properties": {"order_id": order, "currency": "USD", "total": 42.5, "products": [product]},
            "context": context,
            "message_id": order,
        }
        if n % 5 < len(NAMES):
            queued, message = client.track(event=NAMES[n % 5], **same)
        else:
            queued, message = client.page(name="Home", **same)
        if not queued:
            lost.append(message)
        ids.append(message["messageId"])
    client.shutdown()
    given_up = {message["messageId"] for message in lost}
    print("\n".join(f"delivered {i}" for i in ids if i not in given_up), flush=True)
    print(f"{len(lost)} lost", file=sys.stderr)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
