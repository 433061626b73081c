// `npm run bench`: how long the program's main jobs take here. A training step without and with BANG and a
// forward pass; if asked, an exhaustive FGS evaluation and the single native kernels. With --peer and
// --tfjs-wasm the same jobs on other programs (peers/), each right after ours and never at the same time.
try {
  const { run } = await import('./run.mjs');
  process.exitCode = await run(process.argv.slice(2));
} catch (error) {
  if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
  process.stderr.write('bench: the program is not built; run npm ci, or npm run build\n');
  process.exitCode = 2;
}
