declare module '@npmcli/config/lib/definitions/index.js' {
  import type Config from '@npmcli/config';

  /** npm's settings: their types, their defaults, and their names in npm's libraries. */
  const npm: {
    definitions: Config.DefinitionsObject;
    shorthands: Config.ShortFlags;
    flatten: NonNullable<Config.Options['flatten']>;
    nerfDarts: string[];
  };
  export default npm;
}
