#![allow(clippy::unwrap_used)]
mod commands_support;
use commands_support::of;
#[test]
fn fuzz_tmp() {
    const P: &[&str] = &["ls", "'", "\"", "\\", "(", ")", "((", "))", "{", "}", ";", "&", "|", "<", ">", "<<", "<<", "<<-", "<<<", "EOF", "\n", "\nEOF\n", "\n", "\t", " ", " ", "#", "a[", "]", "=(", "$", "$'", "\"$", "<(", "[[", "]]", "9", "case x in a)"];
    let seed: u64 = std::env::var("SEED").unwrap().parse().unwrap();
    let n: u64 = std::env::var("N").unwrap().parse().unwrap();
    let max: usize = std::env::var("MAX").unwrap().parse().unwrap();
    for i in 0..n {
        let mut state = (seed.wrapping_mul(1_000_003) + i).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc;
        let mut pick = |n: usize| { state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407); usize::try_from(state >> 33).unwrap() % n };
        let k = 1 + pick(max);
        let s: String = (0..k).map(|_| P[pick(P.len())]).collect();
        std::fs::write("/tmp/fuzz_last", &s).unwrap();
        let t = std::time::Instant::now();
        of(&s);
        of(&format!("{s}; rm x"));
        if t.elapsed().as_millis() > 300 { println!("SLOW {:?} {:?}", t.elapsed(), s); }
    }
}
