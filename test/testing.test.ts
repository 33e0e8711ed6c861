import express from 'express'
import { createSessions } from 'holdfast'
import { expressSessions } from 'holdfast/express'
import { agent, edit, fakeClock, signIn } from 'holdfast/testing'
import supertest from 'supertest'
import { describe, expect, it } from 'vitest'
import { SECRET } from './helpers/browser.ts'

interface Data {
  cart?: string[]
  visits?: number
}

function shop() {
  const clock = fakeClock()
  const sessions = createSessions<Data>({ secret: SECRET, clock, lifetime: { idle: '30m' } })
  const app = express()
  app.use(expressSessions(sessions))
  app.get('/me', (req, res) => {
    const { userId, data } = sessions.of(req)
    res.json({ userId, data })
  })
  app.post('/visits', (req, res) => {
    const { data } = sessions.of(req)
    data.visits = (data.visits ?? 0) + 1
    res.send(String(data.visits))
  })
  app.post('/logout', async (req, res) => {
    await sessions.of(req).logout()
    res.sendStatus(204)
  })
  return { app, sessions, clock }
}

describe('testing an application', () => {
  it('signs a user in without the login page', async () => {
    const { app, sessions } = shop()
    const browser = agent(supertest(app), await signIn(sessions, 'ann', { cart: ['tea'] }))
    await browser.get('/me').expect({ userId: 'ann', data: { cart: ['tea'] } })
  })

  it('changes a session from outside, as a request would', async () => {
    const { app, sessions } = shop()
    const cookie = await signIn(sessions, 'ann')
    await edit(sessions, cookie, (session) => {
      session.data.cart = ['coffee']
    })
    await agent(supertest(app), cookie)
      .get('/me')
      .expect({ userId: 'ann', data: { cart: ['coffee'] } })
    expect(await edit(sessions, cookie, (session) => session.logout())).toBe('')
    await agent(supertest(app), cookie).get('/me').expect({ data: {} })
  })

  it('keeps Secure cookies over plain http, and drops what the server clears', async () => {
    const { app } = shop()
    const browser = agent(supertest(app))
    await browser.post('/visits').expect('1')
    await browser.post('/visits').expect('2')
    await browser.post('/logout').expect(204)
    await browser.post('/visits').expect('1')
  })

  it('moves the clock', async () => {
    const { app, sessions, clock } = shop()
    const browser = agent(supertest(app), await signIn(sessions, 'ann'))
    clock.advance('29m')
    await browser.get('/me').expect({ userId: 'ann', data: {} })
    clock.advance('31m')
    await browser.get('/me').expect({ data: {} })
  })
})
