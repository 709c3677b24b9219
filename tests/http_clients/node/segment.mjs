// @segment/analytics-node 3, as its README has it but for the host. It repeats by itself what was
// refused or broken off, a whole batch with its messageIds: `maxRetries` (10), after 1, 2, 4 … 60 s;
// 429 with Retry-After waits as told and does not count.

import { Analytics } from '@segment/analytics-node';
import { Account, event, order } from './shop.mjs';

const { url, key, prefix, count } = order();
const analytics = new Analytics({ writeKey: key, host: url, flushAt: 50, flushInterval: 200, maxRetries: 100 });
const account = new Account(count);
analytics.on('error', (error) => console.error(`${error.code}: ${error.reason}`));

await account.each(count, 1000, (n) => {
  const { id, name, properties, userId, context } = event(prefix, n);
  const ended = (error) => (error ? account.lost(id, error) : account.delivered(id));
  const all = { messageId: id, userId, properties, context };
  if (name) analytics.track({ ...all, event: name }, ended);
  else analytics.page({ ...all, name: 'Home' }, ended);
});
await analytics.closeAndFlush();
account.close();
