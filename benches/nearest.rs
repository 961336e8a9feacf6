//! What it costs to find the nearest edge for a viewer: `cargo bench --bench nearest`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tower_edge::distribution::{Coordinates, Nearest};

/// Spread evenly, by the golden angle: the same every time, and no two alike.
fn places(count: usize) -> Vec<Coordinates> {
    (0..count)
        .map(|n| {
            let height = 1.0 - (2 * n + 1) as f64 / count as f64;
            let longitude = (n as f64 * 137.507_764).rem_euclid(360.0) - 180.0;
            Coordinates::new(height.asin().to_degrees(), longitude).expect("a place on Earth")
        })
        .collect()
}

fn nearest(criterion: &mut Criterion) {
    let viewers = places(4093);
    let mut group = criterion.benchmark_group("nearest");
    for edges in [3, 50, 500] {
        let table: Nearest<usize> = places(edges).into_iter().zip(0..).collect();
        let mut viewers = viewers.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(edges), |bencher| {
            bencher.iter(|| {
                let viewer = viewers.next().expect("they come again");
                *black_box(&table).find(black_box(*viewer)).expect("there are edges")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, nearest);
criterion_main!(benches);
