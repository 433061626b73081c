import js from '@eslint/js';
import { createNodeResolver, importX } from 'eslint-plugin-import-x';
import tseslint from 'typescript-eslint';
import globals from 'globals';

/** The rooms of src/, in the order in which data flows: each imports only from those before it. */
const ROOMS = [
  'base',
  'data',
  'engine',
  'model',
  'training',
  'attacks',
  'metrics',
  'paper',
  'config',
  'store',
  'experiment',
  'check',
  'sweep',
  'report',
  'setup',
  'cli',
];

export default tseslint.config(
  { ignores: ['dist/', 'build/', 'prebuilds/', 'runs/', 'coverage/', 'screenshots/', 'site/'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      // Index loops over typed arrays are what numeric code is made of.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/prefer-for-of': 'off',
    },
  },
  {
    files: ['src/**/*.ts'],
    plugins: { 'import-x': importX },
    settings: {
      'import-x/extensions': ['.ts'],
      'import-x/parsers': { '@typescript-eslint/parser': ['.ts'] },
      'import-x/resolver-next': [createNodeResolver({ extensionAlias: { '.js': ['.ts', '.js'] } })],
    },
    rules: {
      '@typescript-eslint/no-restricted-imports': [
        'error',
        {
          paths: ['core', 'backend-cpu'].map((part) => ({
            name: `@tensorflow/tfjs-${part}`,
            allowTypeImports: true,
            message: 'base/tf.js has it, which loads faster.',
          })),
        },
      ],
      'import-x/no-cycle': ['error', { ignoreExternal: true }],
      'import-x/no-restricted-paths': [
        'error',
        {
          zones: [
            ...ROOMS.map((room, i) => ({
              target: `./src/${room}`,
              from: [...ROOMS.slice(i + 1).map((later) => `./src/${later}`), './src/index.ts'],
              message: `${room}/ comes before it in the order of the rooms (eslint.config.js).`,
            })),
            {
              target: './src/index.ts',
              from: './src/cli',
              message: 'The library has no command line (eslint.config.js).',
            },
          ],
        },
      ],
    },
  },
  {
    files: ['src/base/tf.ts'],
    rules: {
      '@typescript-eslint/no-restricted-imports': 'off',
      '@typescript-eslint/no-require-imports': ['error', { allowAsImport: true }],
    },
  },
  { files: ['**/*.{js,mjs}'], languageOptions: { globals: globals.node } },
  { files: ['bin/*.js'], languageOptions: { sourceType: 'commonjs' } },
  // Any Node must be able to read it.
  { files: ['bin/bang.js'], languageOptions: { ecmaVersion: 5 } },
);
