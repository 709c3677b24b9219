// @rudderstack/rudder-sdk-node 3, as its README has it but for the data plane's address. It repeats
// by itself what was refused or broken off, 5xx and 429, through axios-retry: `retryCount` (3), after
// 0.2, 0.4, 0.8 … s, at least Retry-After; `axiosRetryConfig` caps the pause here. Without
// `errorHandler` a batch that is given up is an unhandled rejection.

import Analytics from '@rudderstack/rudder-sdk-node';
import { exponentialDelay } from 'axios-retry';
import { Account, event, order } from './shop.mjs';

const { url, key, prefix, count } = order();
const client = new Analytics(key, {
  dataPlaneUrl: url,
  flushAt: 50,
  flushInterval: 200,
  axiosRetryConfig: { retries: 100, retryDelay: (n, error) => exponentialDelay(Math.min(n, 4), error) },
  errorHandler: (error) => console.error(`given up: ${error.message}`),
  // One line for each attempt that failed is too much here.
  logLevel: 'off',
});
const account = new Account(count);

await account.each(count, 200, (n) => {
  const { id, name, properties, userId, context } = event(prefix, n);
  const ended = (error) => (error ? account.lost(id, error) : account.delivered(id));
  const all = { messageId: id, userId, properties, context };
  if (name) client.track({ ...all, event: name }, ended);
  else client.page({ ...all, name: 'Home' }, ended);
});
await account.all();
account.close();
