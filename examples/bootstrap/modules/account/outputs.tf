output "role_arns" {
  value       = { deploy = aws_iam_role.deploy.arn, plan = aws_iam_role.plan.arn }
  description = "The roles that Terraform's providers get."
}
