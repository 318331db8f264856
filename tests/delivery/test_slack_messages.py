"""What the person who is paged reads."""

import json
import textwrap

from inline_snapshot import snapshot

from app.delivery.slack_messages import SlackMessage, finding_messages
from app.findings.states import TrackedFinding
from app.findings.values import FindingState
from tests.findings.builders import (
    USD,
    a_finding,
    a_gateway_finding,
    a_pool_finding,
    a_tracked,
)
from tests.real.slack import OK, verdict

URL = "https://gpuledger.example"


def messages(*entries: TrackedFinding, currency: str = "USD") -> tuple[SlackMessage, ...]:
    return finding_messages(entries, currency=currency, public_url=URL)


def texts(message: SlackMessage) -> list[str]:
    """Every text of the blocks, in the order in which it is read."""
    found: list[str] = []
    for block in message.blocks:
        body = block.to_dict()
        parts = [body.get("text"), *body.get("fields", []), *body.get("elements", [])]
        found += [part["text"] for part in parts if part]
    return found


def shown(message: SlackMessage) -> list[str]:
    """The notification's text and the message, wrapped to the width of this file."""
    lines = [line for text in (message.text, *texts(message)) for line in text.splitlines()]
    return [part for line in lines for part in textwrap.wrap(line, 80)]


def many(count: int) -> list[TrackedFinding]:
    return [
        a_tracked(a_finding(hold_id=n, pod=f"notebook-{n}", wasted_nanos=n * USD))
        for n in range(1, count + 1)
    ]


def test_an_idle_hold() -> None:
    (message,) = messages(a_tracked())

    assert shown(message) == snapshot(
        [
            "ml-research/notebook-1 keeps 1 × NVIDIA-H100-80GB-HBM3 idle. 23.00 USD (23.0",
            "GPU-hours) wasted in the 24 hours until 2026-11-23 07:00 UTC, about 23.00 USD a",
            "day if nothing changes. Who pays: ml.",
            "ml-research/notebook-1 keeps 1 × NVIDIA-H100-80GB-HBM3 idle",
            "*23.00 USD* (23.0 GPU-hours) wasted in the 24 hours until 2026-11-23 07:00 UTC,",
            "about *23.00 USD a day* if nothing changes.",
            "*Who pays*",
            "ml",
            "*Held since*",
            "2026-11-20 07:00 UTC, 3.0 days",
            "*Where*",
            "node `gpu-1`, cluster `prod-eu`, `Deployment/notebook`",
            "*Why it counts as waste*",
            "96% of the measured time at 5% activity or less; at most 1.0 GiB of its memory",
            "used (100% of the time was measured)",
            "*What to do*",
            "Stop the pod or scale its workload down. If it is known or wanted: `gpuledger",
            "findings ack 34f304748cea1c0d` (or `snooze`, `dismiss`).",
            "<https://gpuledger.example|Dashboard> · Each finding is sent once.",
        ]
    )


def test_an_unallocated_pool() -> None:
    (message,) = messages(a_tracked(a_pool_finding()))

    assert shown(message) == snapshot(
        [
            "Node gpu-2: nobody held 75% of its 8 × NVIDIA-H100-80GB-HBM3. 144.00 USD (144.0",
            "GPU-hours) wasted in the 24 hours until 2026-11-23 07:00 UTC, about 144.00 USD a",
            "day if nothing changes. Who pays: platform.",
            "Node gpu-2: nobody held 75% of its 8 × NVIDIA-H100-80GB-HBM3",
            "*144.00 USD* (144.0 GPU-hours) wasted in the 24 hours until 2026-11-23 07:00",
            "UTC, about *144.00 USD a day* if nothing changes.",
            "*Who pays*",
            "platform",
            "*Unallocated since*",
            "2026-11-22 07:00 UTC, 24 hours",
            "*Where*",
            "node `gpu-2`, cluster `prod-eu`",
            "*Why it counts as waste*",
            "75% of the GPU time could have been taken, 25% was held",
            "*What to do*",
            "Remove the node, let the autoscaler take it, or give its GPUs to a queue. If it",
            "is known or wanted: `gpuledger findings ack ee8a1d00b3a0fd5c` (or `snooze`,",
            "`dismiss`).",
            "<https://gpuledger.example|Dashboard> · Each finding is sent once.",
        ]
    )


def test_a_gateway_that_counts_too_little() -> None:
    (message,) = messages(a_tracked(a_gateway_finding()))

    assert shown(message) == snapshot(
        [
            "ml-chat/Deployment/chat: gateways counted 70% of its tokens. Consumers share its",
            "cost by doubtful tokens in the 24 hours until 2026-11-23 07:00 UTC. Who pays:",
            "ml.",
            "ml-chat/Deployment/chat: gateways counted 70% of its tokens",
            "Consumers share its cost by doubtful tokens in the 24 hours until 2026-11-23",
            "07:00 UTC.",
            "*Who pays*",
            "ml",
            "*Seen since*",
            "2026-11-22 07:00 UTC, 24 hours",
            "*Where*",
            "cluster `prod-eu`, `Deployment/chat`",
            "*What was counted*",
            "700 tokens went through gateways, its engines counted 1,000",
            "*What to do*",
            "Find who calls the service without a gateway, or scrape all gateway replicas. If",
            "it is known or wanted: `gpuledger findings ack 270ed2887251821b` (or `snooze`,",
            "`dismiss`).",
            "<https://gpuledger.example|Dashboard> · Each finding is sent once.",
        ]
    )


def test_a_gateway_that_counts_too_much_is_told_to_look_for_doubles() -> None:
    (message,) = messages(a_tracked(a_gateway_finding(gateway_tokens=1_200)))

    assert "counted twice" in " ".join(texts(message))


def test_five_findings_are_five_messages_the_worst_first() -> None:
    sent = messages(*many(5))

    assert [message.text.split()[0] for message in sent] == [
        f"ml-research/notebook-{n}" for n in (5, 4, 3, 2, 1)
    ]


def test_six_findings_are_one_summary_that_announces_them_all() -> None:
    entries = many(6)

    (message,) = messages(*entries)

    assert message.text.startswith("6 findings of wasted GPU time: 21.00 USD wasted")
    assert sorted(message.announcement_ids) == sorted(entry.announcement_id for entry in entries)
    assert shown(message) == snapshot(
        [
            "6 findings of wasted GPU time: 21.00 USD wasted in the 24 hours until 2026-11-23",
            "07:00 UTC, about 21.00 USD a day if nothing changes.",
            "6 findings of wasted GPU time",
            "*21.00 USD* wasted in the 24 hours until 2026-11-23 07:00 UTC, about *21.00 USD",
            "a day* if nothing changes.",
            "• *6.00 USD* · ml-research/notebook-6 keeps 1 × NVIDIA-H100-80GB-HBM3 idle · ml",
            "· `2805d655750404bd`",
            "• *5.00 USD* · ml-research/notebook-5 keeps 1 × NVIDIA-H100-80GB-HBM3 idle · ml",
            "· `90c21312aadf6ca6`",
            "• *4.00 USD* · ml-research/notebook-4 keeps 1 × NVIDIA-H100-80GB-HBM3 idle · ml",
            "· `07de5cf4636b3243`",
            "• *3.00 USD* · ml-research/notebook-3 keeps 1 × NVIDIA-H100-80GB-HBM3 idle · ml",
            "· `b6d472bd5afd3e48`",
            "• *2.00 USD* · ml-research/notebook-2 keeps 1 × NVIDIA-H100-80GB-HBM3 idle · ml",
            "· `33ff1dfb566514fd`",
            "• *1.00 USD* · ml-research/notebook-1 keeps 1 × NVIDIA-H100-80GB-HBM3 idle · ml",
            "· `34f304748cea1c0d`",
            "List them all: `gpuledger findings list`. If one is known or wanted: `gpuledger",
            "findings ack ID` (or `snooze`, `dismiss`).",
            "<https://gpuledger.example|Dashboard> · Each finding is sent once.",
        ]
    )


def test_a_summary_lists_ten_and_counts_the_rest() -> None:
    (message,) = messages(*many(13))

    listed = [line for text in texts(message) for line in text.splitlines() if line.startswith("•")]
    assert len(listed) == 10
    assert any("And 3 more." in text for text in texts(message))


def test_a_summary_says_which_findings_its_sum_lacks() -> None:
    unpriced = a_tracked(a_finding(hold_id=9, wasted_nanos=None))

    (message,) = messages(*many(5), unpriced)

    assert "15.00 USD wasted" in message.text
    assert "1 of them have no price" in message.text


def test_without_a_price_the_time_is_told_and_no_money() -> None:
    (message,) = messages(a_tracked(a_finding(wasted_nanos=None)))

    assert "23.0 GPU-hours wasted" in message.text
    assert "no price covers them" in message.text
    assert "USD" not in message.text


def test_a_finding_that_came_back_says_so() -> None:
    (back,) = messages(a_tracked(state=FindingState.REGRESSED, episode=2))
    (still,) = messages(a_tracked(state=FindingState.OPEN, episode=2))

    assert back.text.startswith("Back again: ml-research/notebook-1")
    assert still.text.startswith("Still there: ml-research/notebook-1")


def test_a_hold_that_nobody_owns_names_nobody() -> None:
    (message,) = messages(a_tracked(a_finding(team="unowned")))

    assert "Who pays: unowned, no team claims it." in message.text


def test_a_name_cannot_mention_a_channel_or_break_out_of_its_code() -> None:
    (message,) = messages(a_tracked(a_finding(team="<!channel> & co")))

    assert "&lt;!channel&gt; &amp; co" in "".join(texts(message))
    assert "<!channel>" not in "".join(texts(message)) + message.text


def test_money_below_a_cent_is_not_told_as_nothing() -> None:
    (message,) = messages(a_tracked(a_finding(wasted_nanos=1)))

    assert "less than 0.01 USD" in message.text


def test_yen_have_no_decimals() -> None:
    (message,) = messages(a_tracked(a_finding(wasted_nanos=1_234 * USD)), currency="JPY")

    assert "1,234 JPY" in message.text


def test_slack_takes_the_longest_names() -> None:
    long = "x" * 253
    entries = [a_tracked(a_finding(hold_id=n, pod=long, team="&" * 253)) for n in range(1, 21)]
    entries.append(a_tracked(a_pool_finding(node=long)))

    for message in (*messages(*entries), *messages(*entries[:2]), *messages(entries[-1])):
        body = {"text": message.text, "blocks": [block.to_dict() for block in message.blocks]}
        assert verdict(json.dumps(body).encode()) == OK
        assert len(str(body)) < 13_000
