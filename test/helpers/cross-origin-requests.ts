export const TRUSTED = 'https://pay.example'

/** What a browser says of the page that sends a request, and how a site that trusts one origin answers. */
export const requests: readonly [
  method: string,
  site: string | undefined,
  origin: string | undefined,
  host: string,
  status: 200 | 403,
][] = [
  ['GET', 'cross-site', 'https://evil.example', 'shop.example', 200],
  ['GET', 'same-site', undefined, 'shop.example', 200],
  ['GET', undefined, 'null', 'shop.example', 200],
  ['HEAD', 'cross-site', undefined, 'shop.example', 200],
  ['OPTIONS', 'cross-site', 'https://evil.example', 'shop.example', 200], // a CORS preflight
  ['POST', 'same-origin', 'https://shop.example', 'shop.example', 200],
  ['POST', 'same-origin', 'null', 'shop.example', 200], // Referrer-Policy: no-referrer
  ['POST', 'same-origin', 'https://shop.example', 'inner:8080', 200], // behind a proxy that rewrites Host
  ['POST', 'none', undefined, 'shop.example', 200],
  ['POST', 'cross-site', 'https://evil.example', 'shop.example', 403],
  ['POST', 'cross-site', 'https://shop.example', 'shop.example', 403], // another scheme or port of the same host
  ['POST', 'cross-site', undefined, 'shop.example', 403],
  ['POST', 'cross-site', 'null', 'shop.example', 403],
  ['POST', 'same-site', 'https://blog.shop.example', 'shop.example', 403],
  ['POST', 'same-site', undefined, 'shop.example', 403],
  ['POST', 'Same-Origin', undefined, 'shop.example', 403], // no browser says it so
  ['POST', 'same-origin, cross-site', undefined, 'shop.example', 403],
  ['POST', 'something-new', undefined, 'shop.example', 403],
  ['POST', 'cross-site', TRUSTED, 'shop.example', 200],
  ['POST', 'same-site', TRUSTED, 'shop.example', 200],
  ['POST', undefined, TRUSTED, 'shop.example', 200],
  ['POST', 'cross-site', 'http://pay.example', 'shop.example', 403],
  ['POST', 'cross-site', `${TRUSTED}:8443`, 'shop.example', 403],
  ['POST', 'cross-site', `${TRUSTED}.evil.example`, 'shop.example', 403],
  ['POST', 'cross-site', `${TRUSTED}/`, 'shop.example', 403],
  ['POST', undefined, undefined, 'shop.example', 200], // no browser
  ['POST', undefined, 'https://shop.example', 'shop.example', 200],
  ['POST', undefined, 'http://shop.example', 'shop.example', 200],
  ['POST', undefined, 'https://shop.example', 'SHOP.example', 200],
  ['POST', undefined, 'https://shop.example', 'shop.example:443', 200],
  ['POST', undefined, 'http://shop.example', 'shop.example:443', 403],
  ['POST', undefined, 'https://shop.example:8443', 'shop.example:8443', 200],
  ['POST', undefined, 'https://shop.example:8443', 'shop.example', 403],
  ['POST', undefined, 'https://shop.example', 'shop.example:8443', 403],
  ['POST', undefined, 'http://[::1]:3000', '[::1]:3000', 200],
  ['POST', undefined, 'http://[::1]:3000', '[::1]:3001', 403],
  ['POST', undefined, 'https://evil.example', 'shop.example', 403],
  ['POST', undefined, 'https://blog.shop.example', 'shop.example', 403],
  ['POST', undefined, 'null', 'shop.example', 403],
  ['POST', undefined, 'null', 'null', 403],
  ['POST', undefined, 'shop.example', 'shop.example', 403],
  ['POST', undefined, 'https://shop.example/path', 'shop.example', 403],
  ['POST', undefined, 'ftp://shop.example', 'shop.example', 403],
  ['PUT', 'cross-site', 'https://evil.example', 'shop.example', 403],
  ['PATCH', 'same-site', undefined, 'shop.example', 403],
  ['DELETE', undefined, 'https://evil.example', 'shop.example', 403],
]

/** A request that becomes a WebSocket: a GET, and yet not one that only reads. */
export const upgrades: readonly [site: string | undefined, origin: string | undefined, status: 200 | 403][] =
  [
    ['same-origin', 'https://shop.example', 200],
    [undefined, 'https://shop.example', 200],
    ['cross-site', TRUSTED, 200],
    [undefined, undefined, 200],
    ['cross-site', 'https://evil.example', 403],
    ['same-site', 'https://blog.shop.example', 403],
    [undefined, 'https://evil.example', 403],
    [undefined, 'null', 403],
  ]
