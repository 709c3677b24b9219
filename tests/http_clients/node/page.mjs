// Loaded before a script that is meant for a web page: a window, and Segment's client as it is for
// Node, whose ES modules are for bundlers. Where `DOCUMENT` is set there is a document as well:
// Segment's client wants one, Jitsu's then takes itself for a browser and wants more of it.

import { createRequire, register } from 'node:module';
import { pathToFileURL } from 'node:url';
import './window.mjs';

if (process.env.DOCUMENT) {
  globalThis.document = {
    cookie: '',
    referrer: '',
    title: '',
    addEventListener() {},
    querySelector: () => null,
  };
}
const segment = pathToFileURL(createRequire(import.meta.url).resolve('@segment/analytics-next')).href;
const hooks = `export const resolve = (name, context, next) =>
  next(name === '@segment/analytics-next' ? ${JSON.stringify(segment)} : name, context);`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
