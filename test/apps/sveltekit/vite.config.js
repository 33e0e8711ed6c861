import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { sveltekit } from '@sveltejs/kit/vite'
import { defineConfig } from 'vite'

// The sources stand in for the package, as in the other tests.
const root = new URL('../../../', import.meta.url)
const { paths } = JSON.parse(readFileSync(new URL('tsconfig.json', root), 'utf8')).compilerOptions
const alias = Object.entries(paths).map(([name, [file]]) => ({
  find: new RegExp(`^${name}$`),
  replacement: fileURLToPath(new URL(file, root)),
}))

// Here the newest devalue is at the top, where Holdfast wants it; SvelteKit has another of its own.
const ssr = { noExternal: ['devalue'] }

export default defineConfig({ plugins: [sveltekit()], resolve: { alias }, ssr, logLevel: 'warn' })
