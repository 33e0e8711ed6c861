/**
 * Whether this is workerd (Cloudflare Workers), where a timer belongs to the request that made it: it ends with that request, and none can
 * be made before the first.
 */
export const timersEndWithRequest = globalThis.navigator?.userAgent === 'Cloudflare-Workers'
