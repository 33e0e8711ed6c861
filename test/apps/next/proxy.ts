import { type NextRequest, NextResponse } from 'next/server'
import { proxy as withSession } from './sessions.ts'

export const proxy = withSession((request: NextRequest, session) => {
  if (request.nextUrl.pathname === '/account' && session.userId === undefined) {
    return NextResponse.redirect(new URL('/', request.url))
  }
  return NextResponse.next()
})

export const config = { matcher: ['/', '/account', '/static', '/api/take'] }
