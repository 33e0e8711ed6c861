import type { RequestHandler } from 'express'
import { layout } from './layout.ts'
import { errorPage } from './pages.ts'

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Refuses what another site's page sends in the visitor's name. SameSite=Lax keeps the cookie back from most of that; this also
 * covers sibling subdomains, and costs no token in the forms. A client that sends neither header is no browser, and carries
 * nobody's cookies by accident.
 */
export const sameOriginOnly: RequestHandler = (req, res, next) => {
  if (SAFE_METHODS.has(req.method) || isSameOrigin(req.headers)) return next()
  const page = errorPage('Not from here', 'Another site sent this form. Nothing was changed.')
  res.status(403).send(layout(page))
}

function isSameOrigin(headers: Parameters<RequestHandler>[0]['headers']): boolean {
  const site = headers['sec-fetch-site']
  if (site !== undefined) return site === 'same-origin' || site === 'none'
  const { origin, host } = headers
  return origin === undefined || (URL.canParse(origin) && new URL(origin).host === host)
}
