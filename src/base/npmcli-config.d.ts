declare module '@npmcli/config/lib/definitions/index.js' {
  import type Config from '@npmcli/config';

  /** npm's own settings: their types and defaults, and their names in the libraries of npm. */
  const npm: {
    definitions: Config.DefinitionsObject;
    shorthands: Config.ShortFlags;
    flatten: NonNullable<Config.Options['flatten']>;
    nerfDarts: string[];
  };
  export default npm;
}
