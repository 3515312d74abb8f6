output "task_definition" {
  value = aws_ecs_task_definition.shop.arn
}

output "image" {
  value = var.release["image_id"]
}
