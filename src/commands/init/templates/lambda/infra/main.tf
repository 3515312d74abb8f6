# Declare no backend: cdflow adds it from the account scheme. If you use providers, commit the lock file
# that `terraform providers lock` writes.
terraform {
  required_version = ">= 1.6"
}

# A placeholder with the arguments of a function, so that this deploys without a cloud. A new zip is a
# change; an identical zip is not.
resource "terraform_data" "function" {
  input = {
    s3_bucket        = var.release["s3_bucket"]
    s3_key           = var.release["s3_key"]
    source_code_hash = var.release["source_code_hash"]
    handler          = "handler.handle"
    memory_size      = var.memory_mb
    greeting         = var.greeting
  }
}

# On AWS, replace it with this, add the provider to `required_providers`, and set an account scheme with
# accounts and buckets in cdflow.yml. cdflow's examples/lambda-component also has the role and log group.
#
# resource "aws_lambda_function" "function" {
#   function_name    = "${var.release["component"]}-${var.env}"
#   role             = aws_iam_role.function.arn
#   runtime          = "python3.12"
#   handler          = "handler.handle"
#   memory_size      = var.memory_mb
#   s3_bucket        = var.release["s3_bucket"]
#   s3_key           = var.release["s3_key"]
#   source_code_hash = var.release["source_code_hash"]
#
#   environment {
#     variables = {
#       GREETING = var.greeting
#     }
#   }
# }
