//! Worlds drawn from a seed, for those who look for trouble.

use rtpcore_core::send::Layer;

use crate::dice::Dice;
use crate::faults::{Forgery, Trouble, Way};
use crate::links::{Conditions, Loss, Rate};
use crate::media::{Media, Naming};
use crate::world::{Act, PeerId, Plan, TrackId, ViewId};

/// Until then people change their minds; afterwards the room must settle.
const RESTLESS_MS: u64 = 5_000;
const LASTS_MS: u64 = 10_500;

/// The world of a seed: a few peers on all kinds of paths, all kinds of media, and things that happen.
pub fn plan(seed: u64) -> Plan {
    let mut dice = Dice::fork(seed, 0x706C_616E);
    let mut plan = Plan::new(seed);
    plan.lasts_ms = LASTS_MS;
    plan.workers = u8::try_from(dice.pick(&[1, 1, 2, 3, 4])).unwrap_or(1);
    plan.slab = usize::try_from(dice.pick(&[8, 64, 512])).unwrap_or(64);
    let peers: Vec<_> = (0..dice.within(2, 8)).map(|_| peer(&mut plan, &mut dice)).collect();
    let (mut tracks, mut begun) = (Vec::new(), Vec::new());
    for _ in 0..dice.within(1, 5) {
        let publisher = dice.pick(&peers);
        let (media, has_rtx, naming) = (media(&mut dice), dice.permille(800), dice.pick(&[Naming::Ssrc, Naming::Rid]));
        let track = plan.track_later(publisher.0, media, has_rtx, naming);
        let begins = publisher.1 + if dice.permille(700) { 0 } else { dice.below(2_000) };
        plan.at(begins, Act::Publish(track));
        begun.push(begins);
        tracks.push((publisher.0, track, media));
    }
    let mut views = Vec::new();
    for &(peer, joined) in &peers {
        for (&(publisher, track, media), &begins) in tracks.iter().zip(&begun) {
            if publisher != peer && dice.permille(800) {
                let view = plan.view_later(peer, track, dice.permille(850));
                plan.at(joined.max(begins) + dice.below(1_500), Act::Subscribe(view));
                views.push((view, media));
            }
        }
    }
    for _ in 0..dice.pick(&[0, 3, 20, 60]) {
        let at = dice.within(100, RESTLESS_MS);
        if !views.is_empty() {
            let (view, media) = dice.pick(&views);
            change_mind(&mut plan, &mut dice, at, view, media, &tracks);
        }
    }
    go_and_end(&mut plan, &mut dice, &peers, &tracks, &views);
    for _ in 0..dice.pick(&[0, 0, 1, 2, 4]) {
        let (peer, from) = (dice.pick(&peers).0, dice.below(RESTLESS_MS - 1_000));
        let (until, trouble) = (dice.within(from, RESTLESS_MS), trouble(&mut dice));
        plan.fault(peer, from, until, trouble);
    }
    plan
}

/// A peer and when it comes.
fn peer(plan: &mut Plan, dice: &mut Dice) -> (PeerId, u64) {
    let (up, down) = (conditions(dice), conditions(dice));
    let peer = plan.peer_later(up, down);
    let at = if dice.permille(700) { 0 } else { dice.below(2_500) };
    plan.at(at, Act::Join(peer));
    (peer, at)
}

fn conditions(dice: &mut Dice) -> Conditions {
    let loss = match dice.below(4) {
        0 | 1 => Loss::None,
        2 => Loss::Random { permille: u32::try_from(dice.below(60)).unwrap_or(0) },
        _ => Loss::Burst { begins: 5, ends: u32::try_from(dice.within(150, 600)).unwrap_or(300), permille: 800 },
    };
    let is_rough = dice.permille(500);
    Conditions {
        delay_us: dice.within(200, 60_000),
        jitter_us: if is_rough { dice.below(20_000) } else { 0 },
        loss,
        reordered: if is_rough { u32::try_from(dice.below(30)).unwrap_or(0) } else { 0 },
        held_us: dice.below(50_000),
        duplicated: if is_rough { u32::try_from(dice.below(20)).unwrap_or(0) } else { 0 },
        rate: None,
    }
}

fn media(dice: &mut Dice) -> Media {
    let (layers, rates) = (u8::try_from(dice.within(1, 4)).unwrap_or(1), u8::try_from(dice.within(1, 4)).unwrap_or(1));
    match dice.below(7) {
        0 | 1 => Media::Vp8 { encodings: layers, temporal: rates },
        2 => Media::SIMULCAST,
        3 => Media::H264,
        4 => Media::Vp9 { spatial: layers, temporal: rates },
        5 => Media::Av1 { spatial: layers, temporal: rates },
        _ => Media::Opus,
    }
}

fn change_mind(
    plan: &mut Plan,
    dice: &mut Dice,
    at: u64,
    view: ViewId,
    media: Media,
    tracks: &[(PeerId, TrackId, Media)],
) {
    match dice.below(10) {
        0..=4 => {
            let (spatial, temporal) =
                (u8::try_from(dice.below(4)).unwrap_or(0), u8::try_from(dice.below(4)).unwrap_or(0));
            plan.at(at, Act::Prefer(view, Layer { spatial, temporal }));
        }
        5..=7 => {
            plan.at(at, Act::Pause(view, true));
            plan.at(at + dice.below(800), Act::Pause(view, false));
        }
        _ => {
            // One copy keeps its codec; a track of another would need another description.
            let others: Vec<_> = tracks.iter().filter(|(_, _, other)| other.codec() == media.codec()).collect();
            if !others.is_empty() {
                let &(_, track, _) = dice.pick(&others);
                plan.at(at, Act::Follow(view, track));
            }
        }
    }
}

/// Who leaves, what ends.
fn go_and_end(
    plan: &mut Plan,
    dice: &mut Dice,
    peers: &[(PeerId, u64)],
    tracks: &[(PeerId, TrackId, Media)],
    views: &[(ViewId, Media)],
) {
    for &(peer, _) in peers {
        if dice.permille(80) {
            plan.at(dice.within(3_000, RESTLESS_MS), Act::Leave(peer));
        }
    }
    for &(_, track, _) in tracks {
        if dice.permille(80) {
            plan.at(dice.within(2_500, RESTLESS_MS), Act::Unpublish(track));
        }
    }
    for &(view, _) in views {
        if dice.permille(60) {
            plan.at(dice.within(4_100, RESTLESS_MS), Act::Unsubscribe(view));
        }
    }
}

fn trouble(dice: &mut Dice) -> Trouble {
    let way = dice.pick(&[Way::Up, Way::Down]);
    match dice.below(7) {
        0 => Trouble::Cut(None),
        1 => Trouble::Cut(Some(way)),
        2 => Trouble::Squeeze(way, Rate { bps: dice.within(50_000, 1_000_000), queue: dice.within(2_000, 40_000) }),
        3 => Trouble::Damage(way, 50),
        4 => Trouble::Truncate(way, 50),
        5 => Trouble::Replay(way, 100),
        _ => Trouble::Forge(dice.pick(&[Forgery::Noise, Forgery::Ssrcs, Forgery::Media, Forgery::Reports]), 500),
    }
}
