#!/usr/bin/env bash
# A Dask cluster for as long as a run takes; docs/howto/slurm.md goes through it.
#   sbatch deploy/slurm.sh train validation
#SBATCH --job-name=codedata
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem-per-cpu=2G
#SBATCH --time=04:00:00
set -euo pipefail
export DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=30s
export DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=3
bin=${CODEDATA_BIN:-.venv/bin}
port=${DASK_PORT:-8786}
host=$(hostname)
export CODEDATA_DASK_ADDRESS="${DASK_PROTOCOL:-tcp}://$host:$port"

"$bin/dask" scheduler --protocol "${DASK_PROTOCOL:-tcp}" --host "$host" --port "$port" &
scheduler=$!
# One process a core on each node, one chunk at a time each; they end with the scheduler.
srun "$bin/dask" worker "$CODEDATA_DASK_ADDRESS" --nworkers "$SLURM_CPUS_PER_TASK" --nthreads 1 \
    --local-directory "${TMPDIR:-/tmp}" --death-timeout 60 &
workers=$!
trap 'kill "$workers" "$scheduler"' EXIT
"$bin/codedata" materialize "$@"
