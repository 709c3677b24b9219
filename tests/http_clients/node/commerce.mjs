// Each commerce event of @chordcommerce/analytics 1, from a made-up shop, as Segment's client for
// browsers posts it: one line of JSON each. Nothing leaves this process.

import './window.mjs';
import { createRequire } from 'node:module';
import { ChordAnalytics } from '@chordcommerce/analytics';

globalThis.document = {
  cookie: '',
  referrer: '',
  title: 'Stoneware',
  addEventListener() {},
  querySelector: () => null,
};
let arrived;
globalThis.fetch = async (where, request) => {
  if (!request?.body) return new Response(JSON.stringify({ integrations: {} }));
  console.log(JSON.stringify(JSON.parse(request.body)));
  arrived();
  return new Response('{"success":true}');
};
/** Until what is sent here has been posted: its promises do not say so. */
const posted = (send) =>
  new Promise((resolve) => {
    arrived = resolve;
    send();
  });

const { AnalyticsBrowser } = createRequire(import.meta.url)('@segment/analytics-next');
const segment = { apiHost: 'cdp.shop.example/v1' };
const [cdp] = await AnalyticsBrowser.load(
  { writeKey: 'shop', cdnURL: 'https://cdn.shop.example' },
  { integrations: { 'Segment.io': segment }, disableClientPersistence: true },
);

const product = ({ product, quantity, position }) => ({
  brand: product.brand,
  category: product.category,
  name: product.name,
  position,
  price: product.price,
  product_id: product.id,
  quantity,
  sku: product.sku,
  url: product.url,
  variant: product.variant,
  variant_id: product.variantId,
});
const lines = (of) => of.lines.map((line) => product(line));
const chord = new ChordAnalytics({
  cdp,
  formatters: {
    objects: {
      product,
      lineItem: ({ lineItem }) => product(lineItem),
      cart: ({ cart }) => ({ cart_id: cart.id, currency: 'USD', products: lines(cart), value: 42.5 }),
      checkout: ({ checkout }) => ({
        checkout_id: checkout.id,
        currency: 'USD',
        order_id: checkout.orderId,
        products: lines(checkout),
        value: 42.5,
      }),
    },
  },
  metadata: {
    i18n: { currency: 'USD', locale: 'en-US' },
    ownership: { omsId: 'oms', storeId: 'store', tenantId: 'tenant' },
    platform: { name: 'Shopify', type: 'web' },
    store: { domain: 'shop.example' },
  },
});

const mug = {
  id: 'prod-1',
  sku: 'MUG-BLUE',
  variantId: 'var-7',
  name: 'Stoneware mug',
  brand: 'Kiln',
  category: 'Kitchen',
  price: 21.25,
  url: 'https://shop.example/p/mug',
};
const line = { product: mug, quantity: 2, position: 1 };
const cart = { id: 'cart-1', lines: [line] };
const checkout = { id: 'checkout-1', orderId: 'order-1', lines: [line] };
const email = 'ada@mail.example';
const order = {
  checkoutId: checkout.id,
  currency: 'USD',
  email,
  firstName: 'Ada',
  lastName: 'Lovelace',
  orderDate: '2026-01-31T10:00:00Z',
  orderId: checkout.orderId,
  phone: '+1 503 555 0100',
  products: [{ brand: mug.brand, category: mug.category, name: mug.name, price: mug.price, productId: mug.id, quantity: 2, revenue: 42.5, sku: mug.sku }],
  repeat: true,
  revenue: 42.5,
  shippingCity: 'Portland',
  shippingCountry: 'United States',
  shippingState: 'Oregon',
  shippingZipcode: '97201',
  total: 49.9,
};
const coupon = { cartId: cart.id, couponId: 'c-1', couponName: 'SPRING', orderId: checkout.orderId };

const events = {
  trackCartViewed: { cart },
  trackCheckoutStarted: { checkout },
  trackCheckoutStepCompleted: { checkoutId: checkout.id, step: 1 },
  trackCheckoutStepViewed: { checkoutId: checkout.id, step: 1 },
  trackCouponApplied: { ...coupon, discount: 4.25 },
  trackCouponDenied: { ...coupon, reason: 'expired' },
  trackCouponEntered: coupon,
  trackCouponRemoved: { ...coupon, discount: 4.25 },
  trackEmailCaptured: { email, placementPage: 'home' },
  trackLoginStarted: { email },
  trackNavigationClicked: { category: 'Kitchen', label: 'Mugs' },
  trackOrderCompleted: order,
  trackPaymentInfoEntered: { checkoutId: checkout.id, currency: 'USD', orderId: checkout.orderId, products: [line], step: 2, value: 42.5 },
  trackProductAdded: { cart, product: line },
  trackProductClicked: { cart, listId: 'mugs', product: line },
  trackProductListFiltered: { category: 'Kitchen', filters: [{ type: 'color', value: 'blue' }] },
  trackProductListViewed: { category: 'Kitchen', products: [line] },
  trackProductRemoved: { cart, lineItem: line },
  trackProductViewed: { cart, product: line },
  trackProductsSearched: { query: 'mug' },
  trackSignedIn: { email, method: 'password' },
  trackSignedOut: { email },
  trackSignedUp: { email, method: 'password' },
  trackSubscriptionCancelled: { email, currency: 'USD', products: [line], subscriptionId: 's-1', address: { city: 'Portland', zipcode: '97201', state_name: 'Oregon' } },
  trackVariantClicked: { cart, product: line },
};
const made = Object.keys(chord).filter((name) => name.startsWith('track') && name !== 'track');
const forgotten = made.filter((name) => !(name in events));
if (forgotten.length > 0) throw new Error(`events that this shop does not have: ${forgotten.join(', ')}`);

const options = () => ({ userId: 'user-1', context: { ip: '203.0.113.7', traits: { email } } });
for (const [name, props] of Object.entries(events)) await posted(() => chord[name](props, options()));
await posted(() => chord.page(options(), { name: 'Home' }));
process.exit(0);
