"""Times onnxruntime and the Go model in turns and prints the ratios. Called by bench-embedding.sh.

    python3 scripts/embedding_bench.py ONNX_DIR GO_PROGRAM [ROUNDS]

GO_PROGRAM reads lines "batch tokens" and answers each with the milliseconds per text of one call. Both run on
one thread, then on two. Each round takes each engine once per shape, for about 0.3 s; the best and the median
of all calls are printed, and for the ratios the median of the rounds' CPU time.
"""

import os
import statistics
import subprocess
import sys
import time

import numpy as np
import onnxruntime

SHAPES = [(b, n) for b in (1, 16) for n in (16, 64, 256)]


def runtime(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if threads > 1 else "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    kind = np.int32 if "int32" in session.get_inputs()[0].type else np.int64

    def call(batch, n):
        ids = np.random.default_rng(1).integers(1000, 29000, (batch, n)).astype(kind)
        feed = {"input_ids": ids, "attention_mask": np.ones((batch, n), kind)}
        start = time.perf_counter()
        session.run(None, feed)
        return (time.perf_counter() - start) * 1e3 / batch

    return call


def ours(program, *args):
    p = subprocess.Popen([program, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def call(batch, n):
        p.stdin.write(f"{batch} {n}\n")
        p.stdin.flush()
        return float(p.stdout.readline())

    call.process = p
    return call


def cpu(pid):
    """The CPU time of a process in ms. On a busy machine it says more than the clock on the wall."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as f:
            total += int(f.read().split()[0])
    return total / 1e6


def resident(pid):
    with open(f"/proc/{pid}/status") as f:
        return {k: v.split()[0] for k, v in (line.split(":", 1) for line in f) if k in ("VmRSS", "RssAnon", "RssFile")}


def main():
    onnx_dir, program = sys.argv[1:3]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 6
    for threads in (1, 2):
        engines = {name: runtime(os.path.join(onnx_dir, name + ".onnx"), threads) for name in ("plain", "fused", "plain-int8", "fused-int8")}
        kernels = subprocess.run([program, "-list"], capture_output=True, text=True, check=True).stdout.split()
        for k in kernels:
            if k != "plain":
                engines["caxton " + k] = ours(program, "-kernel", k, "-workers", str(threads))
        times = {(e, s): [] for e in engines for s in SHAPES}
        used = {(e, s): [] for e in engines for s in SHAPES}
        for _ in range(rounds):
            for shape in SHAPES:
                for name, call in engines.items():
                    call(*shape)
                    pid = call.process.pid if name.startswith("caxton") else os.getpid()
                    start, end, calls = cpu(pid), time.perf_counter() + 0.3, 0
                    while True:
                        times[name, shape].append(call(*shape))
                        calls += 1
                        if time.perf_counter() > end:
                            break
                    used[name, shape].append((cpu(pid) - start) / calls / shape[0])
        print(f"\n{threads} thread(s), {rounds} rounds in turns: ms per text, best (median)\n")
        print("| engine | " + " | ".join(f"b{b} n{n}" for b, n in SHAPES) + " |")
        print("| --- |" + " ---: |" * len(SHAPES))
        best = {k: min(v) for k, v in times.items()}
        middle = {k: statistics.median(v) for k, v in times.items()}
        for name in engines:
            label = name if name.startswith("caxton") else "onnxruntime " + name
            print(f"| {label} | " + " | ".join(f"{best[name, s]:.2f} ({middle[name, s]:.2f})" for s in SHAPES) + " |")
        # A round's CPU time counts against the better of the two graphs of the same round.
        for name in engines:
            if not name.startswith("caxton"):
                continue
            for what, rivals in (("float32", ("plain", "fused")), ("int8", ("plain-int8", "fused-int8"))):
                cells = []
                for s in SHAPES:
                    turns = [mine / min(used[r, s][i] for r in rivals) for i, mine in enumerate(used[name, s])]
                    cells.append(f"{best[name, s] / min(best[r, s] for r in rivals):.2f} ({statistics.median(turns):.2f})")
                print(f"| {name} ÷ onnxruntime {what}: best, (median of the rounds' CPU time) | " + " | ".join(cells) + " |")
        for name, call in engines.items():
            if name.startswith("caxton"):
                print(f"{name}: resident {resident(call.process.pid)}")
                call.process.stdin.close()
                call.process.wait()


if __name__ == "__main__":
    main()
