import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { bangOk } from '../cli/bang.js';
import { packageRoot } from '#bang/base/files.js';

const deploy = path.join(packageRoot, 'docs', 'deploy');

interface Manifest {
  kind: string;
  metadata: { name: string };
  stringData?: Record<string, string>;
  spec?: {
    selector?: { app?: string; matchLabels?: { app: string } };
    serviceName?: string;
    ports?: { targetPort: string }[];
    volumeClaimTemplates?: { metadata: { name: string } }[];
    template?: {
      metadata: { labels: { app: string } };
      spec: {
        volumes?: { name: string }[];
        containers: {
          args: string[];
          ports?: { name: string }[];
          volumeMounts: { name: string }[];
          env: { valueFrom?: { secretKeyRef: { name: string; key: string } } }[];
        }[];
      };
    };
  };
}

describe('the files for Kubernetes', () => {
  const documents = parseAllDocuments(readFileSync(path.join(deploy, 'kubernetes.yaml'), 'utf8'), {
    strict: true,
    uniqueKeys: true,
  });
  const all = documents.map((document) => document.toJS() as Manifest);
  const named = (kind: string, name: string) =>
    all.find((one) => one.kind === kind && one.metadata.name === name);

  it('are YAML, and all names in them exist', () => {
    for (const { errors, warnings } of documents) expect([...errors, ...warnings]).toEqual([]);
    expect(all.map(({ kind }) => kind)).toEqual(['Secret', 'Service', 'StatefulSet', 'Deployment']);
    const redis = named('StatefulSet', 'bang-redis')!;
    expect(redis.spec!.serviceName).toBe(named('Service', 'bang-redis')!.metadata.name);
    for (const { spec } of all) {
      if (!spec?.template) continue;
      const { metadata, spec: pod } = spec.template;
      expect(metadata.labels.app).toBe(spec.selector!.matchLabels!.app);
      const volumes = [
        ...(pod.volumes ?? []),
        ...(spec.volumeClaimTemplates ?? []).map((claim) => claim.metadata),
      ].map(({ name }) => name);
      for (const { volumeMounts, env } of pod.containers) {
        expect(volumes.sort()).toEqual(volumeMounts.map(({ name }) => name).sort());
        for (const { valueFrom } of env) {
          if (!valueFrom) continue;
          const { name, key } = valueFrom.secretKeyRef;
          expect(named('Secret', name)!.stringData).toHaveProperty(key);
        }
      }
    }
    const service = named('Service', 'bang-redis')!.spec!;
    expect(service.selector!.app).toBe(redis.spec!.template!.metadata.labels.app);
    const ports = redis.spec!.template!.spec.containers[0].ports!.map(({ name }) => name);
    expect(ports).toContain(service.ports![0].targetPort);
  });

  it('use options that the worker has', async () => {
    const { args } = named('Deployment', 'bang-worker')!.spec!.template!.spec.containers[0];
    const { stdout } = await bangOk(['worker', '--help'], { cwd: deploy });
    const options = args.filter((arg) => arg.startsWith('--'));
    for (const option of options) expect(stdout).toContain(`${option} `);
  });
});

describe('the array job for Slurm', () => {
  const file = path.join(deploy, 'slurm.sh');

  it('is a script that bash can parse, with options that the worker has', async () => {
    expect(spawnSync('bash', ['-n', file], { encoding: 'utf8' })).toMatchObject({
      status: 0,
      stderr: '',
    });
    const text = readFileSync(file, 'utf8');
    const command = /worker \\\n((?: +--.*\n)+)/.exec(text)![1];
    const { stdout } = await bangOk(['worker', '--help'], { cwd: deploy });
    for (const [option] of command.matchAll(/--[a-z-]+/g)) expect(stdout).toContain(`${option} `);
  });
});
