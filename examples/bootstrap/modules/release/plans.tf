# The key of stored plans: https://github.com/org/cdflow-action/blob/main/docs/reviewed.md#keys

data "aws_iam_policy_document" "plans" {
  statement {
    sid       = "Administration"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${var.partition}:iam::${var.accounts.release}:root"]
    }
  }

  # The policies of the roles in these accounts say which role encrypts and which one decrypts.
  statement {
    sid       = "Roles"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = distinct([for alias in ["dev", "prod"] : "arn:${var.partition}:iam::${var.accounts[alias]}:root"])
    }
  }
}

resource "aws_kms_key" "plans" {
  count = var.stored_plans ? 1 : 0

  description         = "Plans of pull requests that cdflow stores"
  enable_key_rotation = true
  policy              = data.aws_iam_policy_document.plans.json
}
