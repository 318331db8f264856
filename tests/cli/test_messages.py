"""What leaves the house, and what comes back when it cannot."""

from tests.cli.commands import CommandLine, Ended
from tests.real.ports import free_port
from tests.real.slack import INVALID_TOKEN, NO_SERVICE, SlackServer


def test_findings_wait_until_a_webhook_works_and_are_sent_once(
    standing: CommandLine, slack_server: SlackServer
) -> None:
    def notify(address: str) -> Ended:
        return standing.run("notify", GPULEDGER_SLACK_WEBHOOK_URL=address)

    notify("the usual one").failed("is not a web address")
    nobody = f"http://127.0.0.1:{free_port()}/services/T0/B0/secret"
    assert "secret" not in notify(nobody).failed("Connection refused")
    for answer in (NO_SERVICE, INVALID_TOKEN):
        slack_server.next_answers += [answer] * 20
        notify(slack_server.url).failed(answer.body)
        slack_server.next_answers.clear()
    assert slack_server.messages == []

    first, second = notify(slack_server.url).done(), notify(slack_server.url).done()

    assert int(first.out.split()[0]) == len(slack_server.messages) > 0
    assert second.out == "0 messages sent.\n"
