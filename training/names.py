"""What each figure is called where people read it."""

NAMES = {
    "category_accuracy": "Category: accuracy",
    "category_macro_f1": "Category: macro-F1",
    "category_ece": "Category: expected calibration error",
    "category_in_scope_share": "Category: share of texts that are in scope",
    "category_tagged_share": "Category: share of answers that need no review",
    "category_tagged_precision": "Category: precision of those",
    "secondary_recall": "Second category: recall",
    "secondary_precision": "Second category: precision",
    "urgency_accuracy": "Urgency: accuracy",
    "urgency_kappa": "Urgency: quadratic kappa",
    "urgency_recall_high": "Urgency: recall at high or above",
    "urgency_precision_high": "Urgency: precision at high or above",
    "urgency_recall_critical": "Urgency: recall at critical",
    "urgency_precision_critical": "Urgency: precision at critical",
    "urgency_ece": "Urgency: expected calibration error",
}
