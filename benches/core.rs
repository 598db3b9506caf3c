//! `cargo bench`: every piece at every size. Without `--bench`, as under `cargo test`, each is done once, small.

mod pieces;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pieces::PIECES;
use std::env;

fn core(criterion: &mut Criterion) {
    let whole = env::args().any(|arg| arg == "--bench");
    for piece in PIECES {
        let mut group = criterion.benchmark_group(piece.name);
        for &size in &piece.sizes[..if whole { piece.sizes.len() } else { 1 }] {
            group.throughput(Throughput::Elements((piece.operations)(size) as u64));
            // Criterion calls this once for each sample, and not at all for what the command line leaves out
            let mut work = None;
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter(work.get_or_insert_with(|| (piece.make)(size)));
            });
        }
    }
}

criterion_group!(benches, core);
criterion_main!(benches);
