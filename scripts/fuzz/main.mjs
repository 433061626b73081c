// `npm run fuzz`: hands damaged and random inputs to the program, and checks that each is taken or refused in
// words. An input is made from target, seed and index alone, so --seed and --index make a failure again.
try {
  const { run } = await import('./run.mjs');
  process.exitCode = await run(process.argv.slice(2));
} catch (error) {
  if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
  process.stderr.write('fuzz: the program is not built; run npm ci, or npm run build\n');
  process.exitCode = 2;
}
