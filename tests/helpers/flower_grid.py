"""A grid of Flower whose clients answer in this process, one after another; Flower itself is imported by who uses it."""

from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity


class LocalGrid(Grid):
    """Clients of a ClientApp at nodes of these ids; a client that raises answers with Flower's error."""

    def __init__(self, client_app, node_ids):
        self.client_app = client_app
        self.contexts = {
            node: Context(run_id=1, node_id=node, node_config={"partition-id": k}, state=RecordDict(), run_config={})
            for k, node in enumerate(node_ids)
        }
        TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1  # of the messages' sender

    def get_node_ids(self):
        return list(self.contexts)

    def send_and_receive(self, messages, *, timeout=None):
        return [self._answer(message) for message in messages]

    def _answer(self, message):
        try:
            return self.client_app(message, self.contexts[message.metadata.dst_node_id])
        except OSError as error:
            return Message(error=Error(code=0, reason=str(error)), reply_to=message)

    run = property()
    set_run = create_message = push_messages = pull_messages = None
