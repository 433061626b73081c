// The command line of an npm script.
import yargs from 'yargs';
import { UserError } from '#bang/base/errors.js';

/** A parser of options. What does not fit is a UserError that names the help. */
export function commandLine(args, command, what, options) {
  return yargs(args)
    .scriptName(`${command} --`)
    .usage(`$0 [options]\n\n${what}`)
    .options(options)
    .demandCommand(0, 0)
    .strict()
    .exitProcess(false)
    .version(false)
    .help()
    .wrap(100)
    .fail((message, error) => {
      // yargs has errors of its own, which are the user's too.
      if (error && error.name !== 'YError') throw error;
      throw new UserError(`${message ?? error.message} (see ${command} -- --help)`);
    });
}
