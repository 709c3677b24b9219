// @chordcommerce/analytics 1, as its README has it (but for the import: there is no default export),
// with Jitsu's client or Segment's for browsers as its `cdp`. It hands each event on and has no say in
// its delivery: repeats and messageIds are those of the client below.
//
// The fifth argument says which: `jitsu` or `segment`.

import './window.mjs';
import { ChordAnalytics } from '@chordcommerce/analytics';
import { Account, event, order } from './shop.mjs';

const { url, key, prefix, count } = order();
const account = new Account(count);
const below = await import(`./chord_${process.argv[6]}.mjs`);
const { cdp } = await below.load(url, key, account);

const product = (props) => ({ product_id: props.id, name: props.name, price: props.price, quantity: props.quantity });
const chord = new ChordAnalytics({
  cdp,
  formatters: {
    objects: {
      product: (props) => product(props.product ?? props),
      lineItem: (props) => product(props.lineItem),
      cart: ({ cart }) => ({ cart_id: cart?.id, currency: 'USD' }),
      checkout: ({ checkout }) => ({ checkout_id: checkout?.id, currency: 'USD', order_id: checkout?.orderId }),
    },
  },
  metadata: {
    i18n: { currency: 'USD', locale: 'en-US' },
    ownership: { omsId: 'oms', storeId: 'store', tenantId: 'tenant' },
    platform: { name: 'Node', type: 'web' },
    store: { domain: 'shop.example' },
  },
});

await account.each(count, 64, (n) => {
  const { id, product, userId, context } = event(prefix, n);
  const mug = { id: product.product_id, name: product.name, price: product.price, quantity: product.quantity };
  const cart = { id };
  // Segment's client takes the messageId; Jitsu's makes its own.
  const options = { userId, context, messageId: id };
  const kinds = [
    () => chord.trackOrderCompleted({ orderId: id, currency: 'USD', total: 42.5, products: [mug] }, options),
    () => chord.trackProductViewed({ product: mug, cart }, options),
    () => chord.trackProductAdded({ product: mug, cart }, options),
    () => chord.trackCheckoutStarted({ checkout: { id, orderId: id } }, options),
    () => chord.page(options, { name: 'Home', order_id: id }),
  ];
  // Its promises never fail, and Segment's client has not sent the event when they are kept: what
  // counts is the account.
  kinds[n % kinds.length]();
});
await account.all();
account.close();
