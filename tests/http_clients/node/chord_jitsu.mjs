// Jitsu's client for Chord's, which is made for its interface.

import { jitsuAnalytics } from '@jitsu/js';
import { patient } from './shop.mjs';

/** The client; what it delivers goes into the account. */
export function load(host, writeKey, account) {
  const cdp = jitsuAnalytics({
    host,
    writeKey,
    s2s: true,
    errorPolicy: (why) => account.lost('an event', why),
    fetch: patient((sent) => account.delivered(sent.messageId)),
  });
  return { cdp };
}
