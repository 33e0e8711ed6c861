import type { NextConfig } from 'next'

const config: NextConfig = {
  // As it is, from node_modules: bundled, it would be another copy in each part of the application, and drivers are loaded by name.
  serverExternalPackages: ['holdfast'],
  // TypeScript 7 has no interface for programs, and the repository's own check covers this folder.
  typescript: { ignoreBuildErrors: true },
  turbopack: { root: process.env.APP_ROOT },
}
export default config
