use core::cmp::Reverse;

use super::*;
use proptest::prelude::*;

const SIMULCAST: Costs =
    [[60_000, 100_000, 150_000, 0], [180_000, 300_000, 450_000, 0], [700_000, 1_200_000, 1_700_000, 0]];
const ALL: Layer = Layer { spatial: 2, temporal: 3 };

fn layer(spatial: u8, temporal: u8) -> Layer {
    Layer { spatial, temporal }
}

fn wish(costs: &Costs, most: Layer) -> Wish {
    Wish { ladder: Ladder::new(costs, most), ..Wish::default() }
}

fn granted(budget: u64, wishes: &[Wish]) -> Vec<Option<Layer>> {
    let mut grants = vec![None; wishes.len()];
    allocate(budget, wishes, &mut grants);
    wishes.iter().zip(grants).map(|(wish, grant)| grant.map(|rung| wish.ladder.rungs()[rung].layer)).collect()
}

#[test]
fn a_ladder_goes_by_temporal_layers_before_spatial_ones() {
    let ladder = Ladder::new(&SIMULCAST, ALL);
    let layers: Vec<_> = ladder.rungs().iter().map(|rung| (rung.layer.spatial, rung.layer.temporal)).collect();
    assert_eq!(layers, [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)]);
    assert_eq!(Ladder::new(&SIMULCAST, layer(1, 1)).rungs().last().unwrap().layer, layer(1, 1));
    assert_eq!(ladder.position(layer(1, 0)), Some(0), "360p at a quarter of its frames is on no ladder");
}

#[test]
fn a_track_without_layers_has_one_rung() {
    let costs = [[500_000, 0, 0, 0], [0; 4], [0; 4]];
    assert_eq!(Ladder::new(&costs, ALL).rungs(), [Rung { layer: layer(0, 0), bitrate: 500_000 }]);
    assert!(Ladder::new(&Costs::default(), ALL).rungs().is_empty());
}

#[test]
fn where_all_is_above_the_wish_the_smallest_counts() {
    let costs = [[0; 4], [0; 4], [700_000, 1_200_000, 0, 0]];
    let layers: Vec<_> = Ladder::new(&costs, layer(0, 3)).rungs().iter().map(|rung| rung.layer).collect();
    assert_eq!(layers, [layer(2, 0), layer(2, 1)]);
}

#[test]
fn what_costs_more_than_something_better_is_left_out() {
    let costs = [[60_000, 100_000, 500_000, 0], [180_000, 300_000, 450_000, 0], [0; 4]];
    let layers: Vec<_> = Ladder::new(&costs, ALL).rungs().iter().map(|rung| rung.layer).collect();
    assert_eq!(layers, [layer(0, 0), layer(0, 1), layer(1, 1), layer(1, 2)]);
}

#[test]
fn a_budget_buys_what_it_can() {
    let one = [wish(&SIMULCAST, ALL)];
    for (kbps, expected) in [
        (50, None),
        (70, Some(layer(0, 0))),
        (170, Some(layer(0, 2))),
        (600, Some(layer(1, 2))),
        (1_400, Some(layer(2, 1))),
        (2_000, Some(layer(2, 2))),
    ] {
        assert_eq!(granted(kbps * 1000, &one), [expected], "{kbps} kbit/s");
    }
}

#[test]
fn what_one_has_needs_no_headroom_and_what_is_new_does() {
    let mut one = [wish(&SIMULCAST, ALL)];
    assert_eq!(granted(460_000, &one), [Some(layer(1, 1))], "450 and a tenth do not fit");
    one[0].current = one[0].ladder.position(layer(1, 2));
    assert_eq!(granted(460_000, &one), [Some(layer(1, 2))]);
}

#[test]
fn everybody_gets_something_before_anybody_gets_more() {
    let many = [wish(&SIMULCAST, ALL); 6];
    let all = granted(6 * 67_000, &many);
    assert!(all.iter().all(|layer| *layer == Some(Layer::default())), "{all:?}");
    let short = granted(3 * 67_000, &many);
    assert_eq!(short.iter().flatten().count(), 3);
}

#[test]
fn priority_comes_first_but_takes_nobodys_last() {
    let screen = Wish { priority: 2, ..wish(&SIMULCAST, ALL) };
    let shared = granted(2_100_000, &[wish(&SIMULCAST, ALL), screen]);
    assert_eq!(shared, [Some(layer(0, 2)), Some(layer(2, 2))]);
    let short = granted(70_000, &[wish(&SIMULCAST, ALL), screen]);
    assert_eq!(short, [None, Some(layer(0, 0))]);
}

#[test]
fn a_step_that_does_not_fit_leaves_the_rest_to_others() {
    let large = [[500_000, 0, 0, 0], [3_000_000, 0, 0, 0], [0; 4]];
    let screen = Wish { priority: 2, ..wish(&large, ALL) };
    assert_eq!(granted(1_100_000, &[screen, wish(&SIMULCAST, ALL)]), [Some(layer(0, 0)), Some(layer(1, 2))]);
}

#[test]
fn what_may_not_be_paused_is_not() {
    let one = [Wish { is_unpausable: true, ..wish(&SIMULCAST, ALL) }];
    assert_eq!(granted(0, &one), [Some(layer(0, 0))]);
}

#[test]
fn what_was_lowered_just_now_is_held_there() {
    let mut one = [Wish { current: Some(2), allowed: Some(3), ..wish(&SIMULCAST, ALL) }];
    assert_eq!(granted(9_000_000, &one), [Some(layer(0, 2))]);
    (one[0].current, one[0].allowed) = (None, Some(0));
    assert_eq!(granted(9_000_000, &one), [None]);
    assert_eq!(wanted(&one), 1_700_000 + 1_700_000 * HEADROOM / 256, "what it would take is known all the same");
}

/// What the next step up would need: the smallest budget above what is granted that grants more, and none where every wish
/// has what it wants.
fn next_step(wishes: &[Wish], grants: &[Option<usize>]) -> Option<u64> {
    let spent: u64 = wishes.iter().zip(grants).filter_map(|(wish, grant)| grant.map(|rung| wish.cost(rung))).sum();
    let steps = wishes.iter().zip(grants).filter_map(|(wish, grant)| {
        let next = grant.map_or(0, |rung| rung + 1);
        let rung = wish.ladder.rungs().get(next)?;
        let now = grant.map_or(0, |rung| wish.cost(rung));
        Some((Reverse(wish.priority), rung.layer, spent + wish.cost(next).saturating_sub(now)))
    });
    steps.min().map(|(_, _, needed)| needed)
}

#[test]
fn each_step_up_is_bought_by_what_it_needs() {
    let one = [wish(&SIMULCAST, ALL)];
    let mut grants = [None];
    let mut seen = Vec::new();
    while let Some(needed) = next_step(&one, &grants) {
        allocate(needed, &one, &mut grants);
        seen.push(one[0].ladder.rungs()[grants[0].unwrap()].layer);
        assert!(seen.len() < 20);
    }
    assert_eq!(seen.len(), one[0].ladder.rungs().len(), "each step leads to the next rung: {seen:?}");
    assert_eq!(wanted(&one), 1_700_000 + 1_700_000 * HEADROOM / 256);
}

fn costs() -> impl Strategy<Value = Costs> {
    let row = prop::array::uniform4(prop_oneof![1 => Just(0u64), 4 => 1_000u64..3_000_000]);
    prop::array::uniform3(row).prop_map(|mut rows| {
        for row in &mut rows {
            // Layers build on each other, without a gap, up to where the track has any.
            let len = row.iter().position(|&cost| cost == 0).unwrap_or(row.len());
            row[..len].sort_unstable();
            row[len..].fill(0);
        }
        rows
    })
}

fn wishes() -> impl Strategy<Value = Vec<Wish>> {
    let one = (costs(), 0u8..4, 0u8..4, any::<prop::sample::Index>(), any::<bool>(), 0u8..3);
    let one = one.prop_map(|(costs, spatial, temporal, current, is_paused, priority)| {
        let ladder = Ladder::new(&costs, layer(spatial, temporal));
        let len = ladder.rungs().len();
        let current = (len > 0 && !is_paused).then(|| current.index(len));
        Wish { ladder, current, priority, ..Wish::default() }
    });
    prop::collection::vec(one, 0..12)
}

proptest! {
    #[test]
    fn a_ladder_only_rises(costs in costs(), spatial in 0u8..4, temporal in 0u8..4) {
        let ladder = Ladder::new(&costs, layer(spatial, temporal));
        for pair in ladder.rungs().windows(2) {
            prop_assert!(pair[0].bitrate < pair[1].bitrate && pair[0].layer < pair[1].layer);
        }
        let has_any = costs.iter().flatten().any(|&cost| cost > 0);
        let within = costs.iter().take(usize::from(spatial) + 1).flatten().any(|&cost| cost > 0);
        prop_assert_eq!(ladder.rungs().is_empty(), !has_any, "within the wish: {}", within);
    }

    #[test]
    fn never_over_budget(budget in 0u64..20_000_000, wishes in wishes()) {
        let mut grants = vec![None; wishes.len()];
        allocate(budget, &wishes, &mut grants);
        let spent: u64 = wishes.iter().zip(&grants)
            .filter_map(|(wish, grant)| grant.map(|rung| wish.ladder.rungs()[rung].bitrate)).sum();
        prop_assert!(spent <= budget);
    }

    #[test]
    fn nobody_starves_while_another_feasts(budget in 0u64..20_000_000, wishes in wishes()) {
        let mut grants = vec![None; wishes.len()];
        allocate(budget, &wishes, &mut grants);
        // What all that was granted leaves, if everybody had the first rung alone, buys no further first rung.
        let firsts: u64 = wishes.iter().zip(&grants).filter(|(_, grant)| grant.is_some()).map(|(wish, _)| wish.cost(0)).sum();
        for (wish, grant) in wishes.iter().zip(&grants) {
            if grant.is_none() && !wish.ladder.rungs().is_empty() {
                prop_assert!(firsts + wish.cost(0) > budget);
            }
        }
    }

    #[test]
    fn more_budget_is_never_worse(budget in 0u64..10_000_000, more in 0u64..10_000_000, wishes in wishes()) {
        let (mut before, mut after) = (vec![None; wishes.len()], vec![None; wishes.len()]);
        allocate(budget, &wishes, &mut before);
        allocate(budget + more, &wishes, &mut after);
        let first = |grants: &[Option<usize>]| -> Vec<bool> {
            let mut order: Vec<_> = (0..wishes.len()).collect();
            order.sort_by_key(|&at| Reverse(wishes[at].priority));
            order.into_iter().map(|at| grants[at].is_some()).collect()
        };
        // In the order in which first rungs are served, the first difference is one that more budget buys.
        prop_assert!(first(&after) >= first(&before));
        if let [wish] = &wishes[..] {
            let rank = |grant: Option<usize>| grant.map_or(0, |rung| rung + 1);
            prop_assert!(rank(after[0]) >= rank(before[0]), "{:?}", wish);
        }
    }

    #[test]
    fn everything_is_bought_where_there_is_enough(wishes in wishes()) {
        let mut grants = vec![None; wishes.len()];
        allocate(wanted(&wishes), &wishes, &mut grants);
        for (wish, grant) in wishes.iter().zip(&grants) {
            prop_assert_eq!(grant.map_or(0, |rung| rung + 1), wish.ladder.rungs().len());
        }
        prop_assert_eq!(next_step(&wishes, &grants), None);
    }
}
