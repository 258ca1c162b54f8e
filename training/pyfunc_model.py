"""The bundle as an MLflow pyfunc: this file is logged as it stands (models-from-code), so nothing is pickled.

It needs `earful` to be installed where it runs, as it is in Earful's own images.
"""

import mlflow
import pandas
from mlflow.pyfunc import PythonModel, PythonModelContext

from earful import feedback
from earful.errors import FeedbackError
from earful.feedback import Feedback
from earful.tagger import Tagger
from earful.tags import FLAT_COLUMNS, flat, flat_error


class BundleModel(PythonModel):  # type: ignore[misc]
    """Takes a frame with a `text` column, returns the columns of a scored file, row for row.

    A text that is absent is an empty string, not null: MLflow's Spark function would write it as "nan".
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle that was logged with this model."""
        from pathlib import Path

        self.tagger = Tagger.load(Path(context.artifacts["bundle"]))

    def predict(
        self, context: PythonModelContext, model_input: pandas.DataFrame, params: dict[str, str] | None = None
    ) -> pandas.DataFrame:
        """Tag every row; one that cannot be tagged says why in `tag_error`."""
        rows = [_parse(text) for text in model_input["text"]]
        good = [row for row in rows if isinstance(row, Feedback)]
        tags = iter(self.tagger.tag(good))
        answers = [flat(next(tags)) if isinstance(row, Feedback) else flat_error(row) for row in rows]
        frame = pandas.DataFrame(answers, columns=list(FLAT_COLUMNS))
        return frame.fillna({name: "" for name, kind in FLAT_COLUMNS.items() if kind is str})


def _parse(text: object) -> Feedback | str:
    try:
        return feedback.parse({"text": text})
    except FeedbackError as error:
        return str(error)


mlflow.models.set_model(BundleModel())
