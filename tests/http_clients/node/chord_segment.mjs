// Segment's client for browsers for Chord's, set up with a host of one's own as Segment's docs on
// proxies have it. It repeats by itself what was refused or broken off: 10 times after 0.5, 1, 2 …
// 60 s (`httpConfig.backoffConfig`). It keeps its promises after the first attempt, so what was
// stored is seen from the answers to its requests, which go out as they are.

import { createRequire } from 'node:module';

// With a document besides the window, Jitsu's client would think itself in a browser.
globalThis.document = {
  cookie: '',
  referrer: '',
  title: '',
  addEventListener() {},
  querySelector: () => null,
};

// Its ES modules are for bundlers.
const { AnalyticsBrowser } = createRequire(import.meta.url)('@segment/analytics-next');

/** The client; what it delivers goes into the account. */
export async function load(url, writeKey, account) {
  const ask = globalThis.fetch;
  globalThis.fetch = async (where, request) => {
    const response = await ask(where, request);
    const sent = request?.body && JSON.parse(request.body);
    if (response.ok && sent?.messageId) account.delivered(sent.messageId);
    return response;
  };
  const backoffConfig = { maxRetryCount: 100, maxBackoffInterval: 2 };
  const segment = { apiHost: `${new URL(url).host}/v1`, protocol: 'http', httpConfig: { backoffConfig } };
  const [cdp] = await AnalyticsBrowser.load(
    { writeKey, cdnURL: url },
    { integrations: { 'Segment.io': segment }, disableClientPersistence: true },
  );
  cdp.on('error', ({ reason, ctx }) => account.lost(ctx?.event.messageId, reason));
  // The object itself would be taken for a promise, for it has a `then`.
  return { cdp };
}
