#!/bin/bash
# Sixteen workers of one sweep, as an array job. The sweep itself runs where its folder shall be, such as
# the login node:
#
#   export BANG_QUEUE=redis://HOST:6379 BANG_QUEUE_PASSWORD=...
#   sbatch --export=ALL docs/deploy/slurm.sh
#   node ~/bang/bin/bang.js sweep grids/lenet --queue "$BANG_QUEUE"   # stays until all is done
#
# BANG_HOME is where the program lies on the nodes; left out, it is ~/bang.
#
# The password is passed in the environment of the job. Where others can read that (scontrol show job),
# leave it out and use a file that only you can read: --queue-password-file.
#SBATCH --job-name=bang-worker
#SBATCH --array=1-16
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem-per-cpu=1G
#SBATCH --time=12:00:00
# SIGTERM two minutes before the time is over: begun cells go back into the queue.
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --output=bang-worker-%A-%a.log

set -euo pipefail

: "${BANG_QUEUE:?set BANG_QUEUE to redis://HOST:PORT}"
: "${BANG_HOME:=$HOME/bang}"

# A disk of the node's own; nothing is shared but the queue.
work="${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/bang-worker-${SLURM_JOB_ID:-0}"
trap 'rm -rf "$work"' EXIT

# In the background, so that the shell hears the signal and hands it on. Not through npx, which would end on it
# and leave the worker behind.
node "$BANG_HOME/bin/bang.js" worker \
  --threads "${SLURM_CPUS_PER_TASK:-1}" \
  --work "$work" \
  --idle 300 &
worker=$!
trap 'kill -TERM "$worker"' TERM
wait "$worker" || code=$?
# The first wait ends with the signal; the second with the worker, which saves before it ends.
wait "$worker" || code=$?
# 130 is a worker that was stopped in order.
[ "${code:-0}" -eq 130 ] || exit "${code:-0}"
