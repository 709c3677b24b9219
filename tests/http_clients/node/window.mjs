// As much of a browser as the clients for browsers call when they are loaded and asked to send.

const nothing = () => {};
const stored = new Map();
const storage = {
  getItem: (key) => stored.get(key) ?? null,
  setItem: (key, value) => stored.set(key, String(value)),
  removeItem: (key) => stored.delete(key),
};
const define = (name, value) => Object.defineProperty(globalThis, name, { value, configurable: true });

define('window', globalThis);
define('addEventListener', nothing);
define('removeEventListener', nothing);
define('location', new URL('https://shop.example/'));
define('navigator', { onLine: true, userAgent: 'Mozilla/5.0', language: 'en-US' });
define('localStorage', storage);
define('sessionStorage', storage);
