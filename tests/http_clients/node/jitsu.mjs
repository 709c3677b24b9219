// @jitsu/js 1 on a server (`s2s`), as Jitsu's docs have it but for the host. It asks once: there is
// no option for repeats, only `fetch`, `fetchTimeoutMs` and `errorPolicy` (`log`, which tells nobody
// but stderr, `rethrow`, or a function). The messageId is its own and new with every call, so a call
// that is repeated would be a second event; `fetch` is where the same one can be sent again.

import { jitsuAnalytics } from '@jitsu/js';
import { Account, event, order, patient } from './shop.mjs';

const { url, key, prefix, count } = order();
const account = new Account(count);
const jitsu = jitsuAnalytics({
  host: url,
  writeKey: key,
  s2s: true,
  errorPolicy: (why) => account.lost('an event', why),
  // The id is the client's own: the account has it from what was sent.
  fetch: patient((sent) => account.delivered(sent.messageId)),
});

await account.each(count, 64, (n) => {
  const { name, properties, userId, context } = event(prefix, n);
  const options = { userId, context };
  if (name) jitsu.track(name, properties, options);
  else jitsu.page({ ...properties, name: 'Home' }, options);
});
await account.all();
account.close();
