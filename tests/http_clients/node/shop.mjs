// What all scripts share: the events of a shop, and the account of them.

/** `node SCRIPT URL KEY PREFIX COUNT`: what to send, and where to. */
export function order() {
  const [url, key, prefix, count] = process.argv.slice(2);
  if (!count) throw new Error('usage: node SCRIPT URL KEY PREFIX COUNT');
  return { url, key, prefix, count: Number(count) };
}

/**
 * The event of this number. Every fifth is a page, the others are tracks of varied names; each says
 * who it was, or Pinterest would not have it.
 */
export function event(prefix, n) {
  const id = `${prefix}-${n}`;
  const names = ['Order Completed', 'Product Viewed', 'Product Added', 'Products Searched'];
  const name = n % 5 < names.length ? names[n % 5] : undefined;
  const product = { product_id: `SKU-${n % 977}`, name: 'Stoneware mug', price: 10.5, quantity: 1 + (n % 3) };
  const context = {
    page: { url: `https://shop.example/p/${n}`, path: `/p/${n}` },
    traits: { email: `customer${n}@mail.example` },
    ip: `203.0.113.${1 + (n % 250)}`,
    userAgent: 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X)',
  };
  return {
    id,
    name,
    product,
    properties: { order_id: id, currency: 'USD', total: 42.5, products: [product] },
    userId: `user-${n % 500}`,
    context,
  };
}

/** What was sent and has been answered. Each answered event is one line on stdout. */
export class Account {
  #left;
  #open = 0;
  #lost = [];
  #next = [];
  #ended = () => {};

  constructor(count) {
    this.#left = count;
  }

  /** This one is stored, the server said. */
  delivered(id) {
    console.log(`delivered ${id}`);
    this.#done();
  }

  /** The client gave this one up. */
  lost(id, why) {
    this.#lost.push(id);
    console.error(`lost ${id}: ${why?.stack ?? why}`);
    this.#done();
  }

  #done() {
    this.#left -= 1;
    this.#open -= 1;
    this.#next.shift()?.();
    if (this.#left === 0) this.#ended();
  }

  /** Calls `send` for each number; at most `window` of them are without an answer meanwhile. */
  async each(count, window, send) {
    for (let n = 0; n < count; n += 1) {
      if (this.#open >= window) await new Promise((resolve) => this.#next.push(resolve));
      this.#open += 1;
      send(n);
    }
  }

  /** Until each event has been answered or given up. */
  async all() {
    if (this.#left > 0) await new Promise((resolve) => (this.#ended = resolve));
  }

  /** Ends the process: with 0 only if every event was answered and none was given up. */
  close() {
    console.error(`${this.#left} without an answer, ${this.#lost.length} lost`);
    process.exit(this.#left === 0 && this.#lost.length === 0 ? 0 : 1);
  }
}

/**
 * A `fetch` that asks again until the server takes the request, with the same body and so the same
 * messageId: for clients that ask once. It waits as Retry-After says, else a little longer each time.
 */
export function patient(onTaken) {
  return async (url, request) => {
    for (let wait = 100; ; wait = Math.min(wait * 2, 2000)) {
      // Refused, or broken off: nobody knows whether it was stored, so it is sent again. The body is
      // part of the answer: a server that dies in the middle has not said it.
      const ask = async () => {
        const response = await fetch(url, request);
        return new Response(await response.text(), response);
      };
      const response = await ask().catch(() => undefined);
      if (response?.ok) onTaken(JSON.parse(request.body));
      if (response && response.status < 500 && ![408, 429].includes(response.status)) return response;
      const said = Number(response?.headers.get('retry-after')) * 1000;
      await new Promise((resolve) => setTimeout(resolve, Math.max(wait, said || 0)));
    }
  };
}
