//! Scenes in which threads meet at the log of invalidations and at the registry of fills, played in many orders.
//!
//! shuttle takes the place of the scheduler: every lock and atomic of [`sync`](crate::sync) is a point at which another
//! thread may go on. Each scene is played in orders chosen at random, and by PCT, which finds what it takes one or two
//! untimely switches to bring about. What it cannot show is what weaker orderings than `SeqCst` allow.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test --release --lib --target-dir target/shuttle race::
//! ```
//!
//! `TOWER_EDGE_SCHEDULES` says how often each scene is played by each scheduler. A failure names the round, and prints
//! the schedule for `shuttle::replay`.

mod join;
mod leader;
mod origin;
mod outbox;
mod publish;
mod stage;
mod sweep;
mod write;

use std::cell::Cell;
use std::fmt;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

const SCHEDULES: usize = 5_000;
/// PCT's bug depth: one more than the switches it takes.
const DEPTHS: [usize; 2] = [2, 3];

fn play(scene: fn()) {
    let schedules = std::env::var("TOWER_EDGE_SCHEDULES")
        .map_or(SCHEDULES, |number| number.parse().expect("TOWER_EDGE_SCHEDULES is a number"));
    play_by(RandomScheduler::new(schedules), "random", scene);
    for depth in DEPTHS {
        play_by(
            PctScheduler::new(depth, schedules / DEPTHS.len()),
            format_args!("PCT of depth {depth}"),
            scene,
        );
    }
}

fn play_by(scheduler: impl Scheduler + 'static, name: impl fmt::Display, scene: fn()) {
    let mut config = Config::new();
    // A whole exchange with an origin runs on it.
    config.stack_size = 256 * 1024;
    config.silence_warnings = true;
    thread_local! {
        static ROUND: Cell<usize> = const { Cell::new(0) };
    }
    ROUND.set(0);
    let told = Told(&name);
    Runner::new(scheduler, config).run(move || {
        ROUND.set(ROUND.get() + 1);
        scene();
    });
    drop(told);

    /// Says how many rounds were played, also when one of them failed.
    struct Told<'a, N: fmt::Display>(&'a N);

    impl<N: fmt::Display> Drop for Told<'_, N> {
        fn drop(&mut self) {
            let thread = std::thread::current();
            let scene = thread.name().unwrap_or("a scene");
            let round = ROUND.get();
            if std::thread::panicking() {
                eprintln!("{scene}: failed in round {round}, {}", self.0);
            } else {
                println!("{scene}: {round} rounds, {}", self.0);
            }
        }
    }
}
