'use server'
import { notFound, redirect } from 'next/navigation'
import { action } from './sessions.ts'

export const login = action(async (session, form: FormData) => {
  await session.login(String(form.get('user')))
  session.data.since = new Date()
  session.data.seen = new Set(['tea'])
  redirect('/account')
})

export const loginHere = action(async (session, form: FormData) => {
  await session.login(String(form.get('user')))
})

export const logout = action(async (session) => {
  await session.logout()
  session.flash('info', 'Signed out')
  redirect('/')
})

export const leave = action(async (session) => {
  await session.logout()
  redirect('/')
})

export const add = action(async (session) => {
  session.data.visits = (session.data.visits ?? 0) + 1
})

/** Both are one change of one session. */
export const addTwice = action(async (session) => {
  session.data.cart = { ...session.data.cart, nested: 1 }
  await add()
})

export const addAndMiss = action(async (session) => {
  session.data.visits = (session.data.visits ?? 0) + 100
  notFound()
})

export const addAndMove = action(async (session) => {
  session.data.visits = (session.data.visits ?? 0) + 1
  redirect('/account')
})

export const addAndFail = action(async (session) => {
  session.data.visits = (session.data.visits ?? 0) + 10_000
  throw new Error('the action failed')
})

export const leaveCleanly = action(async (session) => {
  await session.logout({ clearSiteData: true })
})
