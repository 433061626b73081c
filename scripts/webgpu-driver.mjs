// `node scripts/webgpu-driver.mjs COMMAND …` runs a command with the driver of the tests.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where distributions put Chromium, which brings a Vulkan driver that computes on the CPU. */
const CHROMIUM = ['/usr/lib/chromium', '/usr/lib/chromium-browser', '/opt/google/chrome'];

/**
 * Environment variables with which WebGPU finds that driver. Tests use it also where there is a GPU, so that they
 * find the same everywhere; with `BANG_TEST_GPU=1` they use the GPU.
 */
export function softwareDriver() {
  if (process.env.BANG_TEST_GPU === '1') return {};
  const folder = CHROMIUM.find((each) => existsSync(path.join(each, 'vk_swiftshader_icd.json')));
  if (folder === undefined) return {};
  const driver = path.join(folder, 'vk_swiftshader_icd.json');
  const { LD_LIBRARY_PATH: before } = process.env;
  return {
    VK_ICD_FILENAMES: driver,
    VK_DRIVER_FILES: driver,
    // Of the two copies of the Vulkan loader, the system's comes first.
    LD_LIBRARY_PATH: [before, folder].filter(Boolean).join(path.delimiter),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [command, ...args] = process.argv.slice(2);
  const env = { ...process.env, ...softwareDriver() };
  process.exit(spawnSync(command, args, { stdio: 'inherit', env }).status ?? 1);
}
