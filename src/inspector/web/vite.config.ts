import { defineConfig, type Plugin } from 'vite';

/** Leaves out the fonts that GraphiQL's style embeds, 270 kB. The page uses those of the system. */
const withoutFonts: Plugin = {
  name: 'without-fonts',
  enforce: 'pre',
  transform(code, id) {
    return /\.css$/.test(id) ? { code: code.replaceAll(/@font-face\s*\{[^}]*\}/g, ''), map: null } : undefined;
  },
};

const mock = 'http://127.0.0.1:4199';

export default defineConfig({
  base: '/inspect/',
  plugins: [withoutFonts],
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    license: { fileName: 'licenses.md' },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 2000,
    rolldownOptions: { input: ['index.html', 'graphiql.html'], checks: { moduleLevelDirective: false } },
  },
  server: { proxy: { '/inspect/api': mock, '/graphql': { target: mock, ws: true } } },
});
