import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { linkOnSite, pagesIn, root, sidebar, titleOf } from '../site/pages.ts'

describe('a link of the repository', () => {
  it.each([
    ['docs/stores/redis.md', '../stores.md#when-the-server-is-gone', '../stores.md#when-the-server-is-gone'],
    ['README.md', 'docs/csrf.md', 'docs/csrf.md'],
    ['docs/start.md', '#1-install', '#1-install'],
    ['docs/start.md', 'https://example.org/docs/', 'https://example.org/docs/'],
    ['docs/testing.md', '../CHANGELOG.md', '../CHANGELOG.md'],
  ])('stays as it is on the site where it leads to a page: %s, %s', (page, href, expected) => {
    expect(linkOnSite(page, href)).toBe(expected)
  })

  it.each([
    ['docs/operating.md', '../README.md#sessions', '/#sessions'],
    ['docs/stores/redis.md', '../../README.md', '/'],
    ['README.md', 'docs/decisions/', '/docs/decisions/'],
    ['docs/csrf.md', 'decisions/README.md', '/docs/decisions/'],
  ])('leads to the index of a folder where that is its README: %s, %s', (page, href, expected) => {
    expect(linkOnSite(page, href)).toBe(expected)
  })

  it.each([
    ['README.md', 'src/store.ts'],
    ['docs/websockets.md', '../examples/websocket'],
    ['docs/moving/flask.md', '../../src/store.ts'],
  ])('leads nowhere on the site where it leads to another file: %s, %s', (page, href) => {
    expect(linkOnSite(page, href)).toBeUndefined()
  })
})

describe('the navigation', () => {
  const links = sidebar().flatMap(({ items = [] }) => items.map(({ link }) => link!))

  it('has each page once, and none that is not there', () => {
    expect(new Set(links).size).toBe(links.length)
    const pages = links
      .map((link) => link.slice(1))
      .map((link) => (link.endsWith('/') ? `${link}README` : link))
    const written = pagesIn('docs').filter((page) => !page.startsWith('docs/api/'))
    expect(pages).toEqual(expect.arrayContaining(written.map((page) => page.slice(0, -'.md'.length))))
    for (const page of pages)
      expect(page.startsWith('docs/api/') || existsSync(`${root}${page}.md`), page).toBe(true)
  })

  it('calls a page what its first heading says', () => {
    expect(titleOf('docs/frameworks/node.md')).toBe('node:http')
    expect(titleOf('README.md')).toBe('Holdfast')
  })
})
